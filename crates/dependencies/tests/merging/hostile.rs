//! Files of somebody who means ill: never a panic, never a long time, never a secret in what is shown.

use std::time::Duration;

use proptest::{collection::vec, prelude::*, sample::select};

use super::support::{Files, files, merged};

/// More than enough for the largest files without optimisation, and too little for what grows with their square.
/// Of the processor's time: the machine may have more to do.
const ENOUGH: Duration = Duration::from_secs(20);

const LISTED: [&str; 3] = ["requirements.txt", "package.json", "system-packages.txt"];

/// What means something in one of the files, to be put together without sense.
const PIECES: [&str; 88] = [
    "a",
    "b-",
    "-",
    "_",
    ".",
    "requests",
    "é",
    "\u{202e}",
    "\u{feff}",
    "\0",
    " ",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\\\n",
    "#",
    " #",
    "[",
    "]",
    "[x]",
    "[x-]",
    ",",
    ";",
    " ; ",
    "(",
    ")",
    "((((((((",
    "'",
    "\"",
    "==",
    "===",
    "!=",
    "~=",
    ">=",
    "<=",
    "<",
    ">",
    "1",
    "1.0",
    "1!2",
    "1.*",
    "1.0a1",
    ".post1",
    ".dev0",
    "+local",
    "99999999999999999999",
    "python_version",
    "os_name",
    "sys_platform",
    "extra",
    " and ",
    " or ",
    " in ",
    " not in ",
    "@",
    " @ ",
    "https://",
    "git+ssh://",
    "file:",
    "${X}",
    "${",
    "}",
    "-r ",
    "-c ",
    "-e ",
    "--hash=sha256:",
    "--index-url ",
    "{",
    ":",
    "{\"dependencies\":{",
    "\"a\":\"^1.0\"",
    "\"overrides\":{",
    "\"$a\"",
    "\"npm:",
    "null",
    "\\u0000",
    "^",
    "~",
    "||",
    " - ",
    "*",
    "x",
    "v1.2.3-rc.1+b",
    "=1",
    "requirements.txt",
    "../",
    "/",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_ends_in_a_panic(text in any::<String>(), other in any::<String>()) {
        everywhere(&text, &other);
    }

    #[test]
    fn no_pieces_end_in_a_panic(
        text in vec(select(&PIECES[..]), 0..24),
        other in vec(select(&PIECES[..]), 0..12),
    ) {
        everywhere(&text.concat(), &other.concat());
    }

    #[test]
    fn no_requirement_ends_in_a_panic(rest in vec(select(&PIECES[..]), 0..12)) {
        let rest = rest.concat();
        everywhere(&format!("requests{rest}"), &format!("requests ; {rest}"));
    }

    #[test]
    fn no_range_ends_in_a_panic(range in vec(select(&PIECES[..]), 0..12)) {
        let range = range.concat();
        let json = |key: &str| format!("{{\"{key}\":{{\"a\":{}}}}}", serde_json::Value::from(range.as_str()));
        everywhere(&json("dependencies"), &json("overrides"));
    }

    #[test]
    fn no_secret_is_shown(
        secret in "[A-Za-z0-9]{12}",
        user in select(&["", "me:", "${ME}:"][..]),
        before in select(&["a @ ", "-e ", "--index-url ", "--extra-index-url=", "-r ", "", "-f ", "--pre ", "a=="][..]),
        scheme in select(&["https", "git+https", "git+ssh", "svn", "file"][..]),
        after in select(&["", " ; x", "#egg=a", "?x=1", " --hash=md5:1"][..]),
        npm in select(&["", "npm:a@"][..]),
    ) {
        let address = format!("{scheme}://{user}{secret}@example.org/a{after}");
        let parameter = format!("https://example.org/a?access_token={secret}&x=1");
        let json = |text: &str| format!("{{\"dependencies\":{{\"a\":\"{npm}{text}\"}},\"overrides\":{{\"b\":\"{text}\"}}}}");
        for text in [&address, &parameter] {
            let line = format!("{before}{text}\n");
            let all = files([("requirements.txt", line.as_str()), ("package.json", &json(text)), ("system-packages.txt", &line)]);
            // A conflict shows what was written, too: each has another in the other repository.
            let other = files([("requirements.txt", "a @ https://example.org/other\n"), ("package.json", &json("^1"))]);
            for outcome in [merged(&all, &all), merged(&all, &other), merged(&other, &all)] {
                let shown = match &outcome {
                    Ok(it) => format!("{:?} {:?}", it.notes, it.origins()),
                    Err(refused) => format!("{refused} {refused:?}"),
                };
                // Over SSH what stands before `@` is an account's name, unless a password follows it.
                let open = scheme == "git+ssh" && user.is_empty() && *text == address;
                prop_assert!(open || !shown.contains(&secret), "{shown}");
            }
        }
    }
}

/// Gives the texts to all three readers, as files that include themselves, too.
fn everywhere(text: &str, other: &str) {
    let of = |text: &str| -> Files {
        let mut all: Files =
            LISTED.iter().map(|name| (format!("dependencies/{name}"), text.to_owned())).collect();
        all.insert("dependencies/more.txt".to_owned(), text.to_owned());
        let requirements = format!("-r more.txt\n-c more.txt\n{text}");
        all.insert("dependencies/requirements.txt".to_owned(), requirements);
        all
    };
    let plain: Files = LISTED.iter().map(|name| (format!("dependencies/{name}"), text.to_owned())).collect();
    for outcome in [merged(&of(text), &of(other)), merged(&plain, &of(other))] {
        match outcome {
            Ok(it) => drop(it.canonical()),
            Err(refused) => drop(refused.to_string()),
        }
    }
}

/// A text of 250 KiB made of what is written again and again.
fn long(of: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for n in 0.. {
        let next = of(n);
        if text.len() + next.len() > 250 * 1024 {
            break;
        }
        text.push_str(&next);
    }
    text
}

#[test]
fn the_longest_files_take_no_long_time() {
    let many = |n: usize| (0..14).map(|i| format!("!=1.{}.{i},", n % 31)).collect::<String>();
    let marker = |n: usize| {
        (0..5)
            .map(|i| format!("(os_name=='{i}{n}' and sys_platform=='{n}{i}')"))
            .collect::<Vec<_>>()
            .join(" or ")
    };
    let object = |inner: String| format!("{{\"dependencies\":{{{}}}}}", inner.trim_end_matches(','));
    let attacks: Vec<(&str, String)> = vec![
        ("requirements.txt", long(|_| "a\n".to_owned())),
        ("requirements.txt", long(|_| "\\\n".to_owned())),
        ("requirements.txt", long(|_| "#\\\n".to_owned())),
        ("requirements.txt", long(|_| "a \\\n".to_owned())),
        ("requirements.txt", long(|n| format!("a{n}\n"))),
        ("requirements.txt", long(|n| format!("a{}{}>=1\n", n / 31, many(n).replacen("!=", ">=1,!=", 1)))),
        ("requirements.txt", long(|n| format!("a{} ; {}\n", n / 31, marker(n)))),
        ("requirements.txt", long(|n| format!("a{}=={} ; {}\n", n / 31, n % 31, marker(n)))),
        ("requirements.txt", long(|n| format!("a=={n}\n"))),
        ("requirements.txt", long(|_| "(".to_owned())),
        ("requirements.txt", format!("a ; {}", "(".repeat(15_000))),
        ("requirements.txt", long(|n| format!("a --hash=sha256:{n:064x} --hash=sha256:{:064x}\n", n + 1))),
        ("requirements.txt", long(|_| "-r requirements.txt\n".to_owned())),
        ("requirements.txt", long(|_| "a @ https://${A}@h/${B}${C}\n".to_owned())),
        ("package.json", long(|_| "[".to_owned())),
        ("package.json", long(|_| "{\"a\":".to_owned())),
        ("package.json", format!("{{\"overrides\":{}", long(|_| "{\"a\":".to_owned()))),
        ("package.json", object(long(|_| "\"a\":\"1\",".to_owned()))),
        ("package.json", object(long(|n| format!("\"a{n}\":\"1\",")))),
        (
            "package.json",
            object(long(|n| {
                format!(
                    "\"a{n}\":\"{}\",",
                    (0..16).map(|i| format!(">={i}.{i} <3{i}")).collect::<Vec<_>>().join("||")
                )
            })),
        ),
        ("package.json", object(format!("\"a\":\"{}\"", long(|n| format!("{n}||"))))),
        ("package.json", object(format!("\"a\":\"{}\"", long(|_| "1 ".to_owned())))),
        ("system-packages.txt", long(|n| format!("git={n}\n"))),
        ("system-packages.txt", long(|_| "git\n".to_owned())),
        ("system-packages.txt", long(|_| "#".to_owned())),
    ];
    for (name, text) in attacks {
        let began = spent();
        let all = files([(name, text.as_str())]);
        match merged(&all, &all) {
            Ok(it) => drop(it.canonical()),
            Err(refused) => assert!(refused.to_string().len() < 200_000),
        }
        let took = spent() - began;
        assert!(took < ENOUGH, "{took:?} for {name}: {}", &text[..60]);
    }
}

/// What this thread has had of a processor.
fn spent() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("the kernel's word on this thread");
    let (_, after_name) = stat.rsplit_once(')').expect("its name in brackets");
    // User's and system's, in hundredths of a second: proc_pid_stat(5).
    let ticks: u64 =
        after_name.split_whitespace().skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

#[test]
fn a_file_that_is_too_long_is_refused() {
    let text = "a\n".repeat(200_000);
    for name in LISTED {
        let refused = merged(&files([(name, text.as_str())]), &files([])).expect_err("it is too long");
        assert!(refused.to_string().contains("is larger than 256 KiB"), "{refused}");
    }
}

#[test]
fn no_more_than_a_few_files_are_included() {
    let mut chain: Files =
        (0..20).map(|n| (format!("dependencies/{n}.txt"), format!("-r {}.txt\n", n + 1))).collect();
    chain.insert("dependencies/requirements.txt".to_owned(), "-r 0.txt\n".to_owned());
    let refused = merged(&chain, &files([])).expect_err("they are too deep");
    assert!(refused.to_string().contains("8 one within the other"), "{refused}");

    let mut wide: Files = (0..100).map(|n| (format!("dependencies/{n}.txt"), format!("a{n}\n"))).collect();
    let all = (0..100).map(|n| format!("-r {n}.txt\n")).collect();
    wide.insert("dependencies/requirements.txt".to_owned(), all);
    let refused = merged(&wide, &files([])).expect_err("they are too many");
    assert!(refused.to_string().contains("more than 64 files"), "{refused}");
}

#[test]
fn nobody_is_asked_for_a_path_that_leaves_the_repository() {
    let asked = std::cell::RefCell::new(Vec::new());
    let text = "-r ../../../etc/passwd\n-r ..\n-r ../..\n-r /etc/passwd\n-r a/../../../b\n-r ./x/../../y.txt\n-r \\\\h\\x\n";
    let read = |path: &str| {
        asked.borrow_mut().push(path.to_owned());
        Ok((path == "dependencies/requirements.txt").then(|| text.to_owned()))
    };
    let repository = holdpoint_dependencies::Repository { name: "project", read: &read };
    holdpoint_dependencies::merge(&[repository]).expect_err("nothing of it is there");
    let inside = [
        "dependencies/system-packages.txt",
        "dependencies/requirements.txt",
        "y.txt",
        "dependencies/package.json",
    ];
    assert_eq!(*asked.borrow(), inside);
}
