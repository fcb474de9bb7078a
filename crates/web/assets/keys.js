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
  i: () => location.assign("/inbox"),
  c: () => location.assign("/executions"),
  n: () => location.assign("/"),
  "?": () => document.getElementById("help")?.showModal(),
};

export function listenForKeys() {
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
