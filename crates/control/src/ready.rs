//! A conversation that can be started: what was filled in fits the form, and each file has its place.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdpoint_model::{
    Actor, AgentDef, UploadId,
    form::{FieldErrors, GLOBAL, Given, Inputs},
};
use holdpoint_store::{StoreError, TakeUpload};

use crate::{Content, Control, NewFile, StartError, attach};

/// What a new conversation begins with.
pub(crate) struct Ready {
    /// The first message.
    pub(crate) prompt: String,
    /// For the log; a field for files has their places, one a line.
    pub(crate) inputs: Inputs,
    /// For the session alone.
    pub(crate) secrets: Inputs,
    /// Where all files go, as paths in the workspace.
    pub(crate) places: Vec<String>,
    /// What goes there now.
    pub(crate) sent: Vec<(String, Bytes)>,
    /// What goes there once the conversation is committed.
    pub(crate) uploads: Vec<TakeUpload>,
}

impl Ready {
    /// Holds everything that was given against the form.
    pub(crate) async fn check(
        control: &Control,
        agent: &AgentDef,
        inputs: Inputs,
        files: Vec<NewFile>,
        by: &Actor,
    ) -> Result<Self, StartError> {
        let mut errors = FieldErrors::new();
        let mut named: Vec<(String, String, Content)> = Vec::with_capacity(files.len());
        for NewFile { field, content } in files {
            let name = match &content {
                Content::Sent(file) => Ok(attach::bare(&file.name).to_owned()),
                Content::Uploaded(id) if is_named(&named, *id) => {
                    Err(format!("the upload {id} is named twice"))
                }
                Content::Uploaded(id) => usable(control, *id, by).await?,
            };
            match name {
                Ok(name) => named.push((field, name, content)),
                Err(why) => {
                    errors.insert(if field.is_empty() { GLOBAL.to_owned() } else { field }, why);
                }
            }
        }
        let mut by_field = BTreeMap::<String, Vec<String>>::new();
        for (field, name, _) in &named {
            by_field.entry(field.clone()).or_default().push(name.clone());
        }
        let checked = agent.check_inputs(&Given { inputs, files: by_field }).unwrap_or_else(|wrong| {
            for (name, why) in wrong {
                errors.entry(name).or_insert(why);
            }
            Default::default()
        });
        if !errors.is_empty() {
            return Err(StartError::Invalid(errors));
        }
        let mut ready = Self {
            prompt: String::new(),
            inputs: checked.inputs,
            secrets: checked.secrets,
            places: attach::plan(named.iter().map(|(_, name, _)| name.as_str())),
            sent: Vec::new(),
            uploads: Vec::new(),
        };
        for ((field, _, content), place) in named.into_iter().zip(ready.places.clone()) {
            ready.add(field, content, place, by);
        }
        ready.prompt = agent.first_message(&ready.inputs).map_err(StartError::Invalid)?;
        Ok(ready)
    }

    fn add(&mut self, field: String, content: Content, place: String, by: &Actor) {
        if !field.is_empty() {
            let value = self.inputs.entry(field).or_default();
            if !value.is_empty() {
                value.push('\n');
            }
            value.push_str(&place);
        }
        match (content, by.user) {
            (Content::Sent(file), _) => self.sent.push((place, file.bytes)),
            (Content::Uploaded(id), Some(owner)) => self.uploads.push(TakeUpload { id, owner, place }),
            // Nobody's uploads: none was usable.
            (Content::Uploaded(_), None) => {}
        }
    }
}

fn is_named(named: &[(String, String, Content)], id: UploadId) -> bool {
    named.iter().any(|(_, _, content)| matches!(content, Content::Uploaded(other) if *other == id))
}

/// The name of an upload that can be taken, or why it cannot.
async fn usable(control: &Control, id: UploadId, by: &Actor) -> Result<Result<String, String>, StoreError> {
    let upload = control.store().upload(id).await?.filter(|upload| Some(upload.owner) == by.user);
    Ok(match upload {
        None => Err(format!("there is no upload {id} any more; choose the file again")),
        Some(upload) if upload.taken.is_some() => {
            Err(format!("another conversation has taken the upload {id}; choose the file again"))
        }
        Some(upload) if !upload.is_whole() => Err(format!(
            "“{}” has not arrived whole: {} of {} bytes have come",
            upload.name, upload.received_bytes, upload.size_bytes
        )),
        Some(upload) => Ok(upload.name),
    })
}
