// The API's page: each endpoint's form is sent as it would be from a script, with the panel's own session, and
// what comes back is shown. The line for the terminal follows what is typed.
const SHOWN_CHARS = 200_000;

const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// What is filled in, as a request: address, headers, body.
function requestOf(form) {
  let path = form.dataset.path;
  const query = new URLSearchParams();
  const headers = {};
  let body = null;
  for (const field of form.querySelectorAll("[data-in]")) {
    const { name, value } = field;
    if (field.dataset.in === "body") body = value;
    else if (field.dataset.in === "path") {
      // Slashes of a file's path stay.
      const encoded = value.split("/").map(encodeURIComponent).join(name === "path" ? "/" : "%2F");
      if (value) path = path.replace(`{${name}}`, encoded);
    } else if (value === "") continue;
    else if (field.dataset.in === "query") query.append(name, value);
    else headers[name] = value;
  }
  if (body !== null) headers["Content-Type"] = form.dataset.media;
  const search = query.toString();
  return { method: form.dataset.method, url: path + (search ? `?${search}` : ""), headers, body };
}

function curlOf(form) {
  const { method, url, headers, body } = requestOf(form);
  const words = ["curl"];
  if (form.hasAttribute("data-stream")) words.push("-N");
  if (method !== "GET") words.push("-X", method);
  if (!form.hasAttribute("data-open")) words.push("-H", '"Authorization: Bearer $HOLDPOINT_TOKEN"');
  for (const [name, value] of Object.entries(headers)) words.push("-H", quote(`${name}: ${value}`));
  if (body !== null) words.push("--data-binary", quote(body));
  words.push(quote(location.origin + url));
  return words.join(" ");
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function readable(text, media) {
  if (!/[/+]json/.test(media)) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

// Shows a body as it comes: streams do not end by themselves.
async function showBody(response, into) {
  const media = response.headers.get("content-type") ?? "";
  const isStream = /event-stream|ndjson/.test(media);
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = reader ? await reader.read() : { done: true };
    if (done) break;
    if (text.length < SHOWN_CHARS) text += decoder.decode(value, { stream: true });
    if (isStream) into.textContent = text.slice(-SHOWN_CHARS);
  }
  if (!isStream) into.textContent = readable(text, media).slice(0, SHOWN_CHARS);
  if (text.length >= SHOWN_CHARS) into.textContent += "\n… (there is more)";
  into.hidden = into.textContent === "";
}

async function send(form) {
  const answer = form.querySelector("[data-part=answer]");
  const [button, stop] = ["send", "stop"].map((action) => form.querySelector(`[data-action=${action}]`));
  const { method, url, headers, body } = requestOf(form);
  const ending = new AbortController();
  stop.onclick = () => ending.abort();
  button.disabled = true;
  stop.hidden = false;
  answer.replaceChildren();
  const began = performance.now();
  try {
    const response = await fetch(url, { method, headers, body, signal: ending.signal, redirect: "manual" });
    const ms = Math.round(performance.now() - began);
    const kind = response.ok ? "good" : "bad";
    const head = element("p", { class: "row" },
      element("span", { class: "chip", "data-answer": kind }, `${response.status} ${response.statusText}`.trim()),
      element("span", { class: "quiet" }, `${ms} ms`));
    const lines = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    const more = element("details", {}, element("summary", { class: "quiet" }, "Headers"), element("pre", { class: "output" }, lines));
    const shown = element("pre", { class: "output", "data-part": "body", tabindex: "0" });
    answer.replaceChildren(head, more, shown);
    answer.dataset.status = response.status;
    await showBody(response, shown);
  } catch (error) {
    if (error.name !== "AbortError") {
      answer.append(element("p", { class: "alert", role: "alert" }, "The server cannot be reached right now. Try again in a moment."));
    }
  } finally {
    button.disabled = false;
    stop.hidden = true;
  }
}

function filter(words) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  for (const endpoint of document.querySelectorAll("[data-endpoint]")) {
    const text = endpoint.querySelector("summary").textContent.toLowerCase();
    endpoint.hidden = !wanted.every((word) => text.includes(word));
  }
  for (const group of document.querySelectorAll(".endpoints")) {
    group.hidden = !group.querySelector("[data-endpoint]:not([hidden])");
  }
}

// An address of this page can name an endpoint.
function openNamed() {
  const named = document.getElementById(location.hash.slice(1));
  if (!named?.matches("[data-endpoint]")) return;
  named.open = true;
  named.scrollIntoView();
}

export function tryTheApi() {
  if (document.body.dataset.page !== "api") return;
  for (const shown of document.querySelectorAll("#trying, #endpoint-filter, [data-endpoint] [data-action=send]")) shown.hidden = false;
  document.addEventListener("input", (event) => {
    if (event.target.id === "endpoint-filter") return filter(event.target.value);
    const form = event.target.closest("[data-endpoint] form");
    if (form) form.querySelector("[data-part=curl]").textContent = curlOf(form);
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-endpoint] form")) return;
    event.preventDefault();
    send(event.target);
  });
  window.addEventListener("hashchange", openNamed);
  openNamed();
}
