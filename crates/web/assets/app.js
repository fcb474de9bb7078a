// What runs on every page. Each module does one thing, and nothing where its page is another one:
// everything that can be read and answered works without any of this.
import { tryTheApi } from "./api.js";
import { keepClocks } from "./clock.js";
import { keepDrafts } from "./drafts.js";
import { goOn } from "./endless.js";
import { listenForKeys } from "./keys.js";
import { followConversation } from "./live.js";
import { keepWatch } from "./notices.js";
import { followLists } from "./pulse.js";
import { replay } from "./replay.js";
import { sendInBackground } from "./send.js";
import { uploadInBackground } from "./upload.js";

keepClocks();
keepDrafts();
sendInBackground();
uploadInBackground();
listenForKeys();
followConversation();
followLists();
goOn();
tryTheApi();
keepWatch();
replay();

// Words of one's own and a choice exclude each other where only one answer is taken.
document.addEventListener("input", (event) => {
  const name = event.target.dataset?.other;
  if (!name || !event.target.value) return;
  for (const choice of event.target.form.querySelectorAll(`input[type=radio][name="${name}"]`)) {
    choice.checked = false;
  }
});
document.addEventListener("change", (event) => {
  if (event.target.type !== "radio") return;
  const other = event.target.form?.querySelector(`input[data-other="${event.target.name}"]`);
  if (other) other.value = "";
});

// A file control says which files it holds.
document.addEventListener("change", (event) => {
  if (event.target.type !== "file") return;
  const label = event.target.closest(".attach")?.querySelector("span");
  if (!label) return;
  label.dataset.words ??= label.textContent;
  const names = [...event.target.files].map((file) => file.name);
  label.textContent = names.length === 0 ? label.dataset.words : names.join(", ");
});
