// Puts rendered fragments into the page. An element whose id is here already takes its place,
// another one goes to the end of the element that its data-into names: applying twice is harmless.
import { tick } from "./clock.js";

function find(id) {
  return id ? document.getElementById(id) : null;
}

// What a person is doing in the old element goes on in the new one.
function carryOver(old, fresh) {
  if (old instanceof HTMLDetailsElement && old.open) fresh.open = true;
  for (const details of old.querySelectorAll("details[data-part][open]")) {
    const same = fresh.querySelector(`details[data-part="${details.dataset.part}"]`);
    if (same) same.open = true;
  }
  for (const choice of old.querySelectorAll("input[type=radio]:checked")) {
    const same = fresh.querySelector(`input[name="${choice.name}"][value="${CSS.escape(choice.value)}"]`);
    if (same) same.checked = true;
  }
}

// Words that were typed and not sent are not thrown away when somebody else was first.
function keepUnsent(old, fresh) {
  if (old.dataset?.state !== "open" || !fresh.dataset?.hold || fresh.dataset.state === "open") return;
  const typed = [...old.querySelectorAll("textarea, input[type=text]")]
    .filter((field) => field.value.trim() && field.value !== field.defaultValue)
    .map((field) => field.value);
  if (typed.length === 0 || old.dataset.sent) return;
  const kept = document.createElement("details");
  const label = document.createElement("summary");
  label.textContent = "What you had written";
  const text = document.createElement("pre");
  text.textContent = typed.join("\n\n");
  kept.append(label, text);
  fresh.append(kept);
}

export function place(fresh) {
  const old = find(fresh.id);
  if (!old) {
    const into = find(fresh.dataset.into) ?? find("rounds");
    into?.append(fresh);
    return;
  }
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  carryOver(old, fresh);
  keepUnsent(old, fresh);
  old.replaceWith(fresh);
  if (!focused) return;
  const again =
    (focused.name && fresh.querySelector(`[name="${CSS.escape(focused.name)}"]`)) ||
    (focused.dataset.action && fresh.querySelector(`[data-action="${focused.dataset.action}"]`)) ||
    (fresh.matches("[tabindex], summary, a, button") ? fresh : null);
  again?.focus({ preventScroll: true });
}

export function parse(html) {
  // Inert: nothing in a template loads or runs, and the policy of the page forbids it besides.
  const template = document.createElement("template");
  template.innerHTML = html;
  return [...template.content.children];
}

export function patch(html) {
  for (const fresh of parse(html)) place(fresh);
  tick();
}

export function announce(text) {
  const voice = document.getElementById("announce");
  if (voice && text) voice.textContent = text;
}
