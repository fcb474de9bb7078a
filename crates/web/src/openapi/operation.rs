//! One endpoint of the document, as it is put together.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_model::TokenScope;
use http::{Method, StatusCode};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::problem::Problem;

/// What belongs together, in the document and on its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Conversations,
    Holds,
    Files,
    Sessions,
    Releases,
    Keeping,
    People,
    About,
}

impl Group {
    pub(crate) const ALL: [Self; 8] = [
        Self::Conversations,
        Self::Holds,
        Self::Files,
        Self::Sessions,
        Self::Releases,
        Self::Keeping,
        Self::People,
        Self::About,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Conversations => "Conversations",
            Self::Holds => "Holds",
            Self::Files => "Files",
            Self::Sessions => "Sessions",
            Self::Releases => "Releases",
            Self::Keeping => "Keeping",
            Self::People => "People",
            Self::About => "About",
        }
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Conversations => "Start them, follow them, write to them, end them.",
            Self::Holds => "What waits for a person, and the answers to it.",
            Self::Files => "What a conversation made, and what one is to begin with.",
            Self::Sessions => "What runs, and a look inside of it. For operators.",
            Self::Releases => "What new conversations run on, and how it got there. For operators.",
            Self::Keeping => "What has been kept for long enough, and what was deleted. For operators.",
            Self::People => "Users, their tokens and where they are signed in, and what was done about them.",
            Self::About => "The server, and who asks.",
        }
    }
}

/// What the types of a handler do not say of its endpoint.
#[derive(Debug)]
pub(crate) struct Doc {
    pub(crate) group: Group,
    /// Stable: generated clients name their functions by it.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) text: &'static str,
    /// What a token needs; everything may be looked at that its owner sees where there is none.
    pub(crate) scope: Option<TokenScope>,
    /// A body that makes sense, as JSON.
    pub(crate) example: Option<&'static str>,
    /// Status and code of problems that are the endpoint's own.
    pub(crate) problems: &'static [(u16, &'static str)],
}

impl Doc {
    pub(crate) const fn new(group: Group, id: &'static str, title: &'static str) -> Self {
        Self { group, id, title, text: "", scope: None, example: None, problems: &[] }
    }

    pub(crate) const fn text(self, text: &'static str) -> Self {
        Self { text, ..self }
    }

    pub(crate) const fn scope(self, scope: TokenScope) -> Self {
        Self { scope: Some(scope), ..self }
    }

    pub(crate) const fn example(self, example: &'static str) -> Self {
        Self { example: Some(example), ..self }
    }

    pub(crate) const fn problems(self, problems: &'static [(u16, &'static str)]) -> Self {
        Self { problems, ..self }
    }
}

/// An endpoint that is being described.
#[derive(Debug)]
pub(crate) struct Operation<'a> {
    method: Method,
    requests: &'a mut SchemaGenerator,
    responses: &'a mut SchemaGenerator,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: BTreeMap<u16, Value>,
    problems: BTreeMap<u16, BTreeSet<&'static str>>,
    is_signed_in: bool,
}

impl<'a> Operation<'a> {
    pub(crate) fn new(
        method: Method,
        requests: &'a mut SchemaGenerator,
        responses: &'a mut SchemaGenerator,
    ) -> Self {
        Self {
            method,
            requests,
            responses,
            parameters: Vec::new(),
            body: None,
            answers: BTreeMap::new(),
            problems: BTreeMap::new(),
            is_signed_in: false,
        }
    }

    /// The schema of something that is answered.
    pub(crate) fn schema_of<T: JsonSchema>(&mut self) -> Value {
        self.responses.subschema_for::<T>().to_value()
    }

    /// Takes the members of `T` as parameters of the query.
    pub(crate) fn query<T: JsonSchema>(&mut self) {
        let schema = self.requests.subschema_for::<T>().to_value();
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = required.contains(&name.as_str());
            self.parameter("query", name, is_required, without_null(schema.clone()));
        }
    }

    /// Takes a parameter; its schema's description becomes its own.
    pub(crate) fn parameter(&mut self, place: &str, name: &str, is_required: bool, mut schema: Value) {
        let text = schema
            .as_object_mut()
            .and_then(|schema| schema.remove("description"))
            .unwrap_or_else(|| json!(""));
        self.parameters.push(
            json!({ "in": place, "name": name, "required": is_required, "description": text, "schema": schema }),
        );
    }

    /// Takes a body of JSON.
    pub(crate) fn json_body<T: JsonSchema>(&mut self) {
        let schema = self.requests.subschema_for::<T>().to_value();
        self.body("application/json", true, &schema);
        for (status, code) in [
            (400, "malformed_json"),
            (400, "incomplete_body"),
            (413, "too_large"),
            (415, "unsupported_media_type"),
            (422, "invalid_request"),
        ] {
            self.problem(status, code);
        }
    }

    /// Takes a body.
    fn body(&mut self, media: &str, is_required: bool, schema: &Value) {
        self.body = Some(json!({ "required": is_required, "content": { media: { "schema": schema } } }));
    }

    /// Takes bytes; none are as good as any.
    pub(crate) fn bytes_body(&mut self) {
        self.body("application/octet-stream", false, &json!({}));
    }

    /// Answers like this when all goes well.
    pub(crate) fn answer(&mut self, status: u16, text: &str, content: Option<(&str, Value)>) {
        let mut answer = json!({ "description": text });
        if let Some((media, schema)) = content {
            answer["content"] = json!({ media: { "schema": schema } });
        }
        match self.answers.get_mut(&status) {
            // The same status in another media type.
            Some(known) => {
                for (media, schema) in answer["content"].as_object().into_iter().flatten() {
                    known["content"][media] = schema.clone();
                }
            }
            None => {
                self.answers.insert(status, answer);
            }
        }
    }

    /// Answers with server-sent events of these kinds; each is described by its fields. `data` is JSON.
    pub(crate) fn events(&mut self, text: &str, kinds: &Value) {
        let schema = json!({
            "type": "object",
            "properties": {
                "event": kinds,
                "data": { "type": "string", "contentMediaType": "application/json" },
                "id": { "type": "string" },
            },
            "required": ["event", "data"],
        });
        self.answer(200, text, Some(("text/event-stream", schema)));
    }

    /// The answer with this status has a header.
    pub(crate) fn header(&mut self, status: u16, name: &str, text: &str, schema: &Value) {
        if let Some(answer) = self.answers.get_mut(&status) {
            answer["headers"][name] = json!({ "description": text, "required": true, "schema": schema });
        }
    }

    /// Answers with a problem of this code.
    pub(crate) fn problem(&mut self, status: u16, code: &'static str) {
        self.problems.entry(status).or_default().insert(code);
    }

    /// Only for those who have shown who they are.
    pub(crate) fn signed_in(&mut self) {
        self.is_signed_in = true;
        self.problem(401, "unauthenticated");
        self.problem(500, "internal");
        self.problem(503, "closing");
        if !self.method.is_safe() {
            self.problem(403, "cross_site");
        }
    }

    /// The endpoint as the document has it. `path` are the parameters of its address.
    pub(crate) fn finish(mut self, doc: &Doc, path: Vec<Value>) -> Value {
        if doc.scope.is_some() {
            self.problem(403, "forbidden");
        }
        for (status, code) in doc.problems {
            self.problem(*status, code);
        }
        let problem = self.schema_of::<Problem>();
        let mut responses: Map<String, Value> =
            self.answers.into_iter().map(|(status, answer)| (status.to_string(), answer)).collect();
        for (status, codes) in self.problems {
            let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
            let codes_text: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
            let mut schema = problem.clone();
            schema["properties"] = json!({ "code": { "enum": codes } });
            responses.insert(
                status.to_string(),
                json!({
                    "description": format!("{}: {}.", reason.unwrap_or("Problem"), codes_text.join(", ")),
                    "content": { "application/problem+json": { "schema": schema } },
                }),
            );
        }
        let scopes: Vec<&str> = doc.scope.iter().map(|scope| scope.as_str()).collect();
        let mut operation = json!({
            "operationId": doc.id,
            "tags": [doc.group.name()],
            "summary": doc.title,
            "responses": responses,
            "security": if self.is_signed_in { json!([{ "token": scopes }, { "session": scopes }]) } else { json!([]) },
        });
        if !doc.text.is_empty() {
            operation["description"] = json!(doc.text);
        }
        let parameters: Vec<Value> = path.into_iter().chain(self.parameters).collect();
        if !parameters.is_empty() {
            operation["parameters"] = json!(parameters);
        }
        if let Some(mut body) = self.body {
            if let Some(example) = doc.example.and_then(|text| serde_json::from_str::<Value>(text).ok()) {
                body["content"]["application/json"]["example"] = example;
            }
            operation["requestBody"] = body;
        }
        operation
    }
}

/// A parameter that is not needed is left out, and not null.
fn without_null(mut schema: Value) -> Value {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [one] = types.as_slice() {
            schema["type"] = one.clone();
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice["type"] != "null");
        if let [one] = choices.as_slice() {
            let mut one = one.clone();
            if let (Some(text), Some(one)) = (schema.get("description"), one.as_object_mut()) {
                one.insert("description".into(), text.clone());
            }
            schema = one;
        }
    }
    if let Some(schema) = schema.as_object_mut()
        && schema.get("default").is_some_and(Value::is_null)
    {
        schema.remove("default");
    }
    schema
}
