// Uploads files as soon as they are chosen, in chunks, and goes on by itself after a lost connection. The
// form then names the uploads; without this script it carries the files themselves.
const CHUNK_BYTES = 4 * 1024 * 1024;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

// Uploads under way, by their form.
const underWay = new WeakMap();

// An answer that trying again would not change.
class Refused extends Error {}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function problemOf(response) {
  try {
    return await response.json();
  } catch {
    return {};
  }
}

const isPassing = (status, code) =>
  status >= 500 || status === 408 || status === 429 || ["incomplete_body", "busy", "wrong_offset"].includes(code);

async function refuse(response) {
  const problem = await problemOf(response);
  if (response.redirected || response.status === 401) throw new Refused("You are signed out. Reload this page and sign in again.");
  if (!isPassing(response.status, problem.code) || response.status === 507) {
    throw new Refused(problem.detail ?? `The server answered ${response.status}.`);
  }
}

async function begin(file) {
  const name = (file.webkitRelativePath || file.name).normalize();
  const body = JSON.stringify({ name, size: file.size });
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    const response = await fetch("/v1/uploads", { method: "POST", body, headers: { "Content-Type": "application/json" } }).catch(() => null);
    if (response?.ok) return response.json();
    if (response) await refuse(response);
    await sleep(pause);
  }
}

// Where the server is, or where we thought it was while it cannot be reached.
async function offsetOf(url, thought) {
  const response = await fetch(url, { method: "HEAD" }).catch(() => null);
  if (response?.status === 404) throw new Refused("It was given up. Choose the file again.");
  return response?.ok ? Number(response.headers.get("Upload-Offset")) : thought;
}

async function send(file, id, entry) {
  const url = `/v1/uploads/${id}`;
  let at = 0;
  let pause = FIRST_PAUSE_MS;
  while (at < file.size) {
    const body = file.slice(at, at + CHUNK_BYTES);
    const response = await fetch(`${url}?offset=${at}`, { method: "PUT", body }).catch(() => null);
    if (entry.removed) return;
    if (response?.ok) {
      at = (await response.json()).received;
      pause = FIRST_PAUSE_MS;
      entry.show(at);
      continue;
    }
    if (response) await refuse(response);
    entry.say("The connection is lost; this goes on by itself.");
    await sleep(pause);
    pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
    at = await offsetOf(url, at);
  }
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// The line of one file: its name, how far it is, and a way to take it back.
function lineOf(field, file) {
  const bar = element("progress", { max: Math.max(file.size, 1), value: 0 });
  bar.setAttribute("aria-label", `Upload of ${file.name}`);
  const note = element("span", { className: "quiet" });
  note.setAttribute("role", "status");
  const remove = element("button", { type: "button", textContent: "Remove", className: "small" });
  const line = element("li", {}, element("span", { textContent: file.webkitRelativePath || file.name }), bar, note, remove);
  field.querySelector(".uploads").append(line);
  const entry = { removed: false, id: null };
  entry.show = (bytes) => {
    bar.value = bytes;
    note.textContent = `${Math.floor((100 * bytes) / Math.max(file.size, 1))} %`;
  };
  entry.say = (text) => { note.textContent = text; };
  entry.done = () => {
    bar.remove();
    note.textContent = "uploaded";
    line.dataset.uploaded = entry.id;
    line.append(element("input", { type: "hidden", name: `upload:${field.dataset.upload}`, value: entry.id }));
  };
  entry.failed = (text) => {
    bar.remove();
    note.textContent = text;
    note.className = "field-error";
  };
  remove.addEventListener("click", () => {
    entry.removed = true;
    line.remove();
    require(field);
    if (entry.id) fetch(`/v1/uploads/${entry.id}`, { method: "DELETE" }).catch(() => null);
  });
  return entry;
}

// A field that must have a file has one when something of it is on its way.
function require(field) {
  const input = field.querySelector("input[type=file]");
  const kept = field.querySelector(".uploads li:not(:has(input[type=checkbox]:not(:checked)))");
  input.required = field.hasAttribute("data-required") && !kept;
}

async function upload(field, file) {
  const entry = lineOf(field, file);
  try {
    const { id } = await begin(file);
    entry.id = id;
    await send(file, id, entry);
    if (!entry.removed) entry.done();
  } catch (error) {
    entry.failed(error instanceof Refused ? error.message : "It could not be read. Choose it again.");
    throw error;
  }
}

// One after the other: more at once would not be faster, only less certain.
async function uploadAll(field, files) {
  for (const file of files) await upload(field, file);
}

export function uploadInBackground() {
  document.addEventListener("change", (event) => {
    const field = event.target.closest?.("[data-upload]");
    if (!field) return;
    if (event.target.type === "file") {
      const input = event.target;
      const files = [...input.files];
      if (!input.multiple && !input.webkitdirectory) field.querySelector(".uploads").replaceChildren();
      // What is uploaded need not be sent a second time.
      input.value = "";
      const running = underWay.get(input.form) ?? Promise.resolve();
      const next = Promise.allSettled([running, uploadAll(field, files)]).then((outcomes) => {
        const failed = outcomes.find((outcome) => outcome.status === "rejected");
        if (underWay.get(input.form) === next) underWay.delete(input.form);
        if (failed) throw failed.reason;
      });
      next.catch(() => null);
      underWay.set(input.form, next);
    }
    require(field);
  });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    const running = underWay.get(form);
    if (!running) return;
    event.preventDefault();
    if (form.getAttribute("aria-busy") === "true") return;
    const submitter = event.submitter;
    form.setAttribute("aria-busy", "true");
    running.then(
      () => { form.removeAttribute("aria-busy"); form.requestSubmit(submitter); },
      () => form.removeAttribute("aria-busy"),
    );
  });
}
