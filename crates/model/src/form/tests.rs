use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::AgentDef;

/// Fields as `holdpoint.toml` has them.
fn form(json: Value) -> Vec<FormField> {
    serde_json::from_value(json).expect("a form")
}

fn field(json: Value) -> FormField {
    serde_json::from_value(json).expect("a field")
}

fn inputs(pairs: &[(&str, &str)]) -> Inputs {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn given(pairs: &[(&str, &str)]) -> Given {
    Given { inputs: inputs(pairs), ..Given::default() }
}

/// The form of the recorded exchange with a Kodosumi panel, in our words.
fn every_kind() -> Vec<FormField> {
    form(json!([
        {"type": "markdown", "text": "# Demo *form*"},
        {"type": "html", "text": "<b>html</b>"},
        {"type": "break"},
        {"type": "hr"},
        {"type": "errors"},
        {"type": "text", "name": "t", "label": "Text", "value": "v", "required": true, "placeholder": "ph", "size": 20, "pattern": "[a-z]+"},
        {"type": "number", "name": "n", "label": "Num", "value": "1", "min": 0, "max": 9, "step": 1},
        {"type": "area", "name": "area", "label": "Area", "rows": 3, "cols": 40, "max_length": 500},
        {"type": "date", "name": "d", "label": "Date", "min": "2020-01-01", "max": "2030-01-01"},
        {"type": "time", "name": "ti", "label": "Time", "min": "08:00", "max": "18:00", "step": 60},
        {"type": "datetime-local", "name": "dt", "label": "DT", "min": "2020-01-01T00:00", "max": "2030-01-01T00:00", "step": 60},
        {"type": "checkbox", "name": "c", "label": "Check", "value": "yes", "text": "ON"},
        {"type": "select", "name": "s", "label": "Sel", "value": "b", "options": [{"name": "a", "label": "A"}, {"name": "b", "label": "B"}]},
        {"type": "file", "name": "files", "label": "Files", "multiple": true},
        {"type": "submit", "text": "Go"},
        {"type": "cancel", "text": "Back"},
        {"type": "action", "name": "act", "value": "x", "text": "Other"},
    ]))
}

#[test]
fn clients_of_kodosumi_see_the_form_that_they_know() {
    let recorded: Value = serde_json::from_str(
        r##"[{"type":"markdown","text":"# Demo *form*"},{"type":"html","text":"<b>html</b>"},{"type":"break","text":"<div class=\"space\"></div>"},{"type":"hr","text":"<hr class=\"medium\"/>"},{"type":"errors"},{"type":"text","name":"t","label":"Text","value":"v","required":true,"placeholder":"ph","size":20,"pattern":"[a-z]+"},{"type":"number","name":"n","label":"Num","value":"1","required":false,"placeholder":null,"size":null,"pattern":null,"min_value":0,"max_value":9,"step":1},{"type":"textarea","name":"area","label":"Area","value":null,"required":false,"placeholder":null,"rows":3,"cols":40,"max_length":500},{"type":"date","name":"d","label":"Date","value":null,"required":false,"placeholder":null,"min_date":"2020-01-01","max_date":"2030-01-01"},{"type":"time","name":"ti","label":"Time","value":null,"required":false,"placeholder":null,"min_time":"08:00","max_time":"18:00","step":60},{"type":"datetime-local","name":"dt","label":"DT","value":null,"required":false,"placeholder":null,"min_datetime":"2020-01-01T00:00","max_datetime":"2030-01-01T00:00","step":60},{"type":"boolean","name":"c","label":"Check","value":true,"option":"ON"},{"type":"select","name":"s","label":"Sel","value":"b","option":[{"type":"option","name":"a","label":"A","value":false},{"type":"option","name":"b","label":"B","value":true}],"error":null},{"type":"file","name":"files","label":"Files","value":null,"required":false,"multiple":true,"directory":false},{"type":"submit","text":"Go"},{"type":"cancel","text":"Back"},{"type":"action","name":"act","value":"x","text":"Other"}]"##,
    )
    .expect("JSON");
    let ours = Value::Array(elements(&every_kind(), &|html| html.to_owned()));
    assert_eq!(ours, recorded);
    let password =
        elements(&form(json!([{"type": "password", "name": "p", "max_length": 9}])), &str::to_owned);
    assert_eq!(
        password[0],
        json!({"type": "password", "name": "p", "label": "p", "value": null, "required": false,
            "placeholder": null, "size": null, "pattern": null, "min_length": null, "max_length": 9,
            "show_toggle": true})
    );
    assert_eq!(password[1], json!({"type": "submit", "text": "Start"}), "a form needs a button");
    let html = form(json!([{"type": "html", "text": "<script>"}]));
    assert_eq!(elements(&html, &|_| "clean".to_owned())[0]["text"], "clean");
}

#[test]
fn a_form_reads_what_it_writes_and_what_was_written_before() {
    for definition in [every_kind(), AgentDef::builtin().fields()] {
        let json = serde_json::to_value(&definition).expect("JSON");
        assert_eq!(form(json), definition);
        assert_eq!(check(&definition), []);
    }
    // As older logs have it.
    let old = json!({"name": "s", "label": "", "type": "select", "required": true, "value": "a",
        "placeholder": "", "options": ["a", "b"]});
    assert_eq!(serde_json::to_value(field(old.clone())).expect("JSON"), old);
    for (alias, kind) in [("textarea", "area"), ("boolean", "checkbox"), ("datetime", "datetime-local")] {
        assert_eq!(field(json!({"type": alias})).kind.as_str(), kind);
    }
    serde_json::from_value::<FormField>(json!({"name": "a", "typo": 1})).expect_err("an unknown key");
}

#[rstest]
#[case(json!({"name": "t"}), "anything\nat all", true)]
#[case(json!({"name": "t", "pattern": "[a-z]+"}), "abc", true)]
#[case(json!({"name": "t", "pattern": "[a-z]+"}), "abc1", false)]
#[case(json!({"name": "t", "pattern": "a|b"}), "ax", false)]
#[case(json!({"name": "t", "pattern": "a|b"}), "b", true)]
#[case(json!({"name": "t", "pattern": "a"}), "a\na", false)]
#[case(json!({"name": "t", "pattern": "(a*)*b"}), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false)]
#[case(json!({"name": "t", "min_length": 2, "max_length": 3}), "a", false)]
#[case(json!({"name": "t", "min_length": 2, "max_length": 3}), "äöü", true)]
#[case(json!({"name": "t", "min_length": 2, "max_length": 3}), "abcd", false)]
#[case(json!({"name": "n", "type": "number"}), "-1.5e3", true)]
#[case(json!({"name": "n", "type": "number"}), "three", false)]
#[case(json!({"name": "n", "type": "number"}), "NaN", false)]
#[case(json!({"name": "n", "type": "number"}), "inf", false)]
#[case(json!({"name": "n", "type": "number"}), "1e999", false)]
#[case(json!({"name": "n", "type": "number", "min": 0, "max": 9}), "9", true)]
#[case(json!({"name": "n", "type": "number", "min": 0, "max": 9}), "9.1", false)]
#[case(json!({"name": "n", "type": "number", "min": 0, "max": 9}), "-0.1", false)]
#[case(json!({"name": "n", "type": "number", "step": 0.1}), "0.3", true)]
#[case(json!({"name": "n", "type": "number", "step": 0.1}), "0.35", false)]
#[case(json!({"name": "n", "type": "number", "min": 1, "step": 2}), "4", false)]
#[case(json!({"name": "n", "type": "number", "min": 1, "step": 2}), "5", true)]
#[case(json!({"name": "d", "type": "date"}), "2024-02-29", true)]
#[case(json!({"name": "d", "type": "date"}), "2023-02-29", false)]
#[case(json!({"name": "d", "type": "date"}), "20240229", false)]
#[case(json!({"name": "d", "type": "date"}), "2024-02-29T00:00", false)]
#[case(json!({"name": "d", "type": "date", "min": "2020-01-01", "max": "2030-01-01"}), "2030-01-01", true)]
#[case(json!({"name": "d", "type": "date", "min": "2020-01-01", "max": "2030-01-01"}), "2030-01-02", false)]
#[case(json!({"name": "d", "type": "date", "min": "2020-01-01"}), "0001-01-01", false)]
#[case(json!({"name": "t", "type": "time"}), "23:59", true)]
#[case(json!({"name": "t", "type": "time"}), "23:59:59.999", true)]
#[case(json!({"name": "t", "type": "time"}), "23:59:60", false)]
#[case(json!({"name": "t", "type": "time"}), "24:00", false)]
#[case(json!({"name": "t", "type": "time"}), "8:00", false)]
#[case(json!({"name": "t", "type": "time", "min": "08:00", "max": "18:00", "step": 900}), "08:15", true)]
#[case(json!({"name": "t", "type": "time", "min": "08:00", "max": "18:00", "step": 900}), "08:16", false)]
#[case(json!({"name": "t", "type": "time", "min": "08:00", "max": "18:00"}), "18:01", false)]
#[case(json!({"name": "t", "type": "datetime-local"}), "2026-01-31T08:30", true)]
#[case(json!({"name": "t", "type": "datetime-local"}), "2026-01-31 08:30:15", true)]
#[case(json!({"name": "t", "type": "datetime-local"}), "2026-01-31T08:30Z", false)]
#[case(json!({"name": "t", "type": "datetime-local", "max": "2026-01-31T08:30"}), "2026-01-31T08:31", false)]
#[case(json!({"name": "c", "type": "checkbox"}), "on", true)]
#[case(json!({"name": "c", "type": "checkbox"}), "maybe", false)]
#[case(json!({"name": "c", "type": "checkbox", "required": true}), "no", false)]
#[case(json!({"name": "c", "type": "checkbox", "required": true}), "", false)]
#[case(json!({"name": "s", "type": "select", "options": ["a", {"name": "b", "label": "B"}]}), "b", true)]
#[case(json!({"name": "s", "type": "select", "options": ["a", {"name": "b", "label": "B"}]}), "B", false)]
#[case(json!({"name": "s", "type": "select", "options": ["a"], "required": true}), "", false)]
#[case(json!({"name": "p", "type": "password", "min_length": 3}), "ab", false)]
#[case(json!({"name": "p", "type": "password", "required": true}), " ", true)]
#[case(json!({"name": "f", "type": "file"}), "/etc/passwd", false)]
#[case(json!({"name": "f", "type": "file", "required": true}), "", false)]
#[case(json!({"name": "a", "type": "action", "value": "x"}), "x", true)]
#[case(json!({"name": "a", "type": "action", "value": "x"}), "y", false)]
#[case(json!({"name": "a", "type": "action", "value": "x"}), "", true)]
fn values(#[case] definition: Value, #[case] value: &str, #[case] fits: bool) {
    let field = field(definition);
    let outcome = validate(std::slice::from_ref(&field), &given(&[(&field.name, value)]));
    assert_eq!(outcome.is_ok(), fits, "{outcome:?}");
    if let Err(errors) = outcome {
        assert_eq!(errors.keys().collect::<Vec<_>>(), [&field.name]);
    }
}

#[test]
fn each_field_says_what_is_wrong_with_it() {
    let mut wrong = given(&[("t", "X"), ("n", "99"), ("s", "c"), ("ghost", "boo")]);
    wrong.files.insert("t".into(), vec!["a.txt".into()]);
    wrong.files.insert("nowhere".into(), vec!["a.txt".into()]);
    let errors = validate(&every_kind(), &wrong).expect_err("wrong");
    assert_eq!(errors["t"], "`t` is no field for files; this agent has: files");
    assert_eq!(errors["n"], "“Num” must be at most 9");
    assert_eq!(errors["s"], "“Sel” must be one of: a, b");
    assert!(errors["ghost"].contains("there is no field `ghost`; this agent has: t, n"), "{errors:?}");
    assert!(errors["nowhere"].contains("no field for files"));
    assert_eq!(errors.len(), 5);
}

#[test]
fn files_are_counted() {
    let outcome = |definition: Value, names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let given = Given { files: BTreeMap::from([("f".to_owned(), names)]), ..Given::default() };
        validate(&[field(definition)], &given).map(|_| ()).map_err(|errors| errors["f"].clone())
    };
    let one = json!({"name": "f", "type": "file", "required": true});
    assert_eq!(outcome(one.clone(), &["a"]), Ok(()));
    assert_eq!(outcome(one.clone(), &[]), Err("“f” needs a file".into()));
    assert_eq!(outcome(one, &["a", "b"]), Err("“f” takes one file, and 2 were given".into()));
    assert_eq!(outcome(json!({"name": "f", "type": "file", "multiple": true}), &["a", "b"]), Ok(()));
    assert_eq!(outcome(json!({"name": "f", "type": "file", "directory": true}), &["d/a", "d/b"]), Ok(()));
}

#[test]
fn a_password_is_kept_nowhere() {
    let form = form(json!([
        {"name": "prompt", "required": true},
        {"name": "key", "type": "password", "min_length": 4},
    ]));
    let checked = validate(&form, &given(&[("prompt", "go"), ("key", "hunter2")])).expect("fits");
    assert_eq!(checked.inputs, inputs(&[("prompt", "go")]));
    assert_eq!(checked.secrets, inputs(&[("key", "hunter2")]));
    assert!(!format!("{checked:?}").contains("hunter2"));
    assert_eq!(message(&form, "", &checked.inputs), "go", "it is not listed");
    assert_eq!(message(&form, "{{prompt}} with {{key}}", &checked.inputs), "go with ~/.holdpoint/key");
    let errors = validate(&form, &given(&[("prompt", "go"), ("key", "abc")])).expect_err("short");
    assert_eq!(errors["key"], "“key” must have at least 4 characters");
}

#[rstest]
#[case(json!([{"name": ""}]), "name", "a field needs a name")]
#[case(json!([{"name": "a"}, {"name": "a"}]), "name", "two fields are called `a`")]
#[case(json!([{"name": "a"}, {"name": "a", "type": "action", "value": "x"}]), "name", "two fields")]
#[case(json!([{"name": "_global_"}]), "name", "whole form")]
#[case(json!([{"name": "{a}"}]), "name", "cannot be the name")]
#[case(json!([{"name": "upload:a"}]), "name", "cannot be the name")]
#[case(json!([{"name": "../x", "type": "password"}]), "name", "cannot be the name of a password")]
#[case(json!([{"name": "a", "type": "select"}]), "type", "a select needs something to select")]
#[case(json!([{"name": "a", "type": "select", "options": ["x", "x"]}]), "options", "two options are called `x`")]
#[case(json!([{"name": "a", "type": "select", "options": [""]}]), "options", "an option needs a name")]
#[case(json!([{"name": "a", "type": "number", "min": 2, "max": 1}]), "min", "nothing is at least 2 and at most 1")]
#[case(json!([{"name": "a", "type": "date", "min": "2026-02-30"}]), "min", "bounds no date")]
#[case(json!([{"name": "a", "type": "date", "max": 3}]), "max", "bounds no date")]
#[case(json!([{"name": "a", "type": "time", "min": "10:00", "max": "09:00"}]), "min", "nothing is at least 10:00")]
#[case(json!([{"name": "a", "min_length": 2, "max_length": 1}]), "min_length", "nothing has at least 2")]
#[case(json!([{"name": "a", "type": "number", "step": 0}]), "step", "more than nothing")]
#[case(json!([{"name": "a", "type": "area", "rows": 0}]), "rows", "nothing can be seen")]
#[case(json!([{"name": "a", "pattern": "("}]), "pattern", "no regular expression")]
#[case(json!([{"name": "a", "pattern": "a)|(b"}]), "pattern", "no regular expression")]
#[case(json!([{"name": "a", "pattern": "(?:a{1000}){1000}{1000}"}]), "pattern", "no regular expression")]
#[case(json!([{"name": "a", "type": "number", "value": "x"}]), "value", "it starts with what it refuses")]
#[case(json!([{"name": "a", "type": "password", "value": "x"}]), "value", "cannot be given beforehand")]
#[case(json!([{"name": "a", "type": "action"}]), "name", "an action needs a value")]
#[case(json!([{"type": "markdown"}]), "type", "nothing to read")]
#[case(json!([{"type": "submit", "name": "a"}]), "name", "`name` has no meaning in a form's `submit`")]
#[case(json!([{"name": "a", "type": "date", "step": 1}]), "step", "`step` has no meaning in a form's `date`")]
#[case(json!([{"name": "a", "options": ["x"]}]), "options", "`options` has no meaning in a form's `text`")]
fn definitions_that_cannot_be(#[case] definition: Value, #[case] key: &str, #[case] message: &str) {
    let faults = check(&form(definition));
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0].key, key);
    assert!(faults[0].message.contains(message), "{faults:?}");
}

#[test]
fn buttons_share_a_name() {
    let form = form(json!([
        {"name": "prompt"},
        {"name": "how", "type": "action", "value": "fast", "text": "Quick"},
        {"name": "how", "type": "action", "value": "deep", "text": "Thorough"},
    ]));
    assert_eq!(check(&form), []);
    let checked = validate(&form, &given(&[("prompt", "x"), ("how", "deep")])).expect("fits");
    assert_eq!(message(&form, "", &checked.inputs), "prompt: x\nhow: deep");
}

#[test]
fn the_first_message_comes_from_the_form() {
    let plain = AgentDef::builtin();
    assert_eq!(plain.first_message(&inputs(&[("prompt", " hi ")])).expect("message"), "hi");
    assert!(plain.first_message(&inputs(&[("prompt", " ")])).expect_err("empty").contains_key("prompt"));
    let formed = AgentDef {
        form: form(
            json!([{"name": "n", "type": "number"}, {"name": "s", "type": "select", "options": ["a"]}]),
        ),
        prompt: "{{n}} of {{s}} {{ {{x}} {{".into(),
        ..plain
    };
    assert_eq!(formed.first_message(&inputs(&[("n", "3"), ("s", "a")])).expect("it"), "3 of a {{ {{x}} {{");
    let sly = formed.first_message(&inputs(&[("n", "{{s}}"), ("s", "a")])).expect("message");
    assert!(sly.starts_with("{{s}} of a"), "what was typed is no template: {sly}");
}

proptest! {
    /// Whatever comes, every field gets an answer, and no password is told.
    #[test]
    fn validation_is_total(
        values in prop::collection::btree_map("[a-z_]{1,4}|t|n|d|ti|dt|c|s|act|files|key", any::<String>(), 0..8),
        files in prop::collection::btree_map("files|t|", prop::collection::vec(any::<String>(), 0..3), 0..3),
        secret in "[a-z]{12,20}",
    ) {
        let mut form = every_kind();
        form.push(field(json!({"type": "password", "name": "key", "max_length": 30})));
        let mut inputs = values;
        inputs.insert("key".into(), secret.clone());
        match validate(&form, &Given { inputs, files }) {
            Ok(checked) => {
                let told = format!("{:?}", checked.inputs);
                prop_assert!(!told.contains(&secret));
                prop_assert!(!message(&form, "", &checked.inputs).contains(&secret));
                prop_assert_eq!(&checked.secrets["key"], &secret);
            }
            Err(errors) => {
                let told = format!("{errors:?}");
                prop_assert!(!errors.is_empty() && !told.contains(&secret));
            }
        }
    }

    /// What fits a definition without faults is inside of its bounds.
    #[test]
    fn bounds_hold(min in -1000i32..1000, span in 0i32..1000, value in -3000i32..3000) {
        let field = field(json!({"name": "n", "type": "number", "min": min, "max": min + span}));
        let fits = validate(std::slice::from_ref(&field), &given(&[("n", &value.to_string())])).is_ok();
        prop_assert_eq!(fits, (min..=min + span).contains(&value));
    }

    /// A definition of whatever values has faults or none, and never an end.
    #[test]
    fn checking_is_total(name in any::<String>(), value in any::<String>(), pattern in any::<String>(), min in any::<f64>(), step in any::<f64>(), kind in 0usize..18) {
        let kinds = ["text", "password", "area", "number", "date", "time", "datetime-local", "checkbox", "select", "file", "markdown", "html", "break", "hr", "errors", "submit", "cancel", "action"];
        let mut field = field(json!({"type": kinds[kind]}));
        (field.name, field.value, field.pattern) = (name, value.clone(), Some(pattern));
        (field.min, field.max, field.step) = (Some(Bound::Number(min)), Some(Bound::Text(value.clone())), Some(step));
        let _ = check(std::slice::from_ref(&field));
        let _ = validate(std::slice::from_ref(&field), &given(&[(&field.name, &value)]));
        let _ = elements(&[field], &str::to_owned);
    }
}
