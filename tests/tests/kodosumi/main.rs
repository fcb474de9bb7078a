//! Clients of the replaced panel: what was recorded of it is answered alike by the real program, with the
//! real CLI and a scripted model.

mod client;
mod habits;
mod hostile;
mod replay;
mod shapes;

use anyhow::Result;
use holdpoint_tests::{Server, Setup, whole};

const SCRIPT: &str = r##"
title: clients of another panel
scenes:
  - name: report
    when: report
    turns:
      - - think: "A report, then."
          text: "# Head"
          tool: Bash
          input: {command: "echo 'to out' > report.txt; echo seen"}
        - text: "# Final\n\n<script>window.__xss=1</script>"
"##;

const AGENTS: &str = r#"
[agents.bench]
title = "Bench"
tags = ["bench"]
completion = "auto"

[agents.every]
title = "Every element"
description = "all form elements"
tags = ["demo", "all"]
author = "a@example.com"
organization = "Org"
completion = "auto"
prompt = "report {{t}}"
form = [
  { name = "t", label = "Text", type = "text", required = true, placeholder = "ph" },
  { name = "n", label = "Num", type = "number", value = "1" },
  { name = "area", label = "Area", type = "area" },
  { name = "c", label = "Check", type = "checkbox", value = "yes" },
  { name = "s", label = "Sel", type = "select", options = ["a", "b"], value = "b" },
]
"#;

async fn server() -> Result<Server> {
    Server::start(Setup::script(&format!("{SCRIPT}{}", whole::SCENE)).toml(AGENTS)).await
}
