// Keys, for those who answer many. A letter acts on the chosen hold; where none is chosen yet, it
// chooses one first: nothing is allowed by a single stray key.
const isTyping = (target) => target.closest?.("input, textarea, select, [contenteditable]");

const stops = () => [...document.querySelectorAll("[data-nav]")].filter((stop) => stop.offsetParent !== null);

const chosen = () => document.activeElement?.closest?.("[data-nav]");

function go(step) {
  const all = stops();
  if (all.length === 0) return;
  const at = all.indexOf(chosen());
  const next = at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1);
  all[next].focus();
  all[next].scrollIntoView({ block: "nearest" });
}

// The chosen hold; chooses the first one where there is none, and then gives nothing.
function hold() {
  const current = document.activeElement?.closest?.("[data-hold][data-state=open]");
  if (current?.matches("[data-nav]")) return current;
  const first = document.querySelector("[data-hold][data-state=open][data-nav]");
  first?.focus();
  first?.scrollIntoView({ block: "center" });
  return null;
}

function press(selectors) {
  const current = hold();
  if (!current) return;
  for (const selector of selectors) {
    const button = current.querySelector(selector);
    if (button) {
      button.click();
      return;
    }
  }
}

function unfold(part) {
  const details = hold()?.querySelector(`details[data-part="${part}"]`);
  if (!details) return;
  details.open = true;
  details.querySelector("textarea")?.focus();
}

// What belongs to the chosen hold in the inbox: the hold, and what is beside it.
function item() {
  return hold()?.closest(".inbox-item");
}

function beside(selector) {
  item()?.querySelector(selector)?.click();
}

function snooze() {
  const details = item()?.querySelector("details[data-part=snooze]");
  if (!details) return;
  details.open = true;
  details.querySelector("button")?.focus();
}

const boxes = () => [...document.querySelectorAll("input[data-pick]")];

// Selecting allows nothing: it may begin with the first one.
function pick() {
  const box = (item() ?? item())?.querySelector("input[data-pick]");
  if (box) box.checked = !box.checked;
}

function pickAll() {
  const all = boxes();
  const every = all.every((box) => box.checked);
  for (const box of all) box.checked = !every;
}

// Brings to the bar; a second key stroke there decides.
function several(selector) {
  const bar = document.getElementById("several");
  if (!bar || !boxes().some((box) => box.checked)) return;
  const target = bar.querySelector(selector);
  const details = target?.closest("details");
  if (details) details.open = true;
  target?.focus();
}

function reply() {
  const area = chosen()?.querySelector("[data-reply]") ?? document.querySelector("[data-reply]");
  area?.focus();
}

const KEYS = {
  j: () => go(1),
  k: () => go(-1),
  a: () => press(["button[data-action=allow]", "button[data-action=answer]"]),
  d: () => unfold("deny"),
  e: () => unfold("edit"),
  r: reply,
  t: () => beside("button[data-action=take]"),
  s: snooze,
  x: pick,
  X: pickAll,
  A: () => several("button[data-action=allow-several]"),
  D: () => several("textarea"),
  i: () => location.assign("/inbox"),
  c: () => location.assign("/executions"),
  n: () => location.assign("/"),
  "?": () => document.getElementById("help")?.showModal(),
};

export function listenForKeys() {
  const all = document.querySelector("button[data-action=pick-all]");
  if (all) {
    all.hidden = false;
    all.addEventListener("click", () => boxes().forEach((box) => (box.checked = true)));
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.form) {
      event.preventDefault();
      const form = event.target.form;
      form.requestSubmit(form.querySelector("button.primary, button.danger, button"));
      return;
    }
    if (event.key === "Escape" && isTyping(event.target)) {
      event.target.blur();
      event.target.closest("[data-nav]")?.focus();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (document.querySelector("dialog[open]") || document.body.dataset.page === "login") return;
    const act = KEYS[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
