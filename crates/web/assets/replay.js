// Plays a conversation: fetches one step after the other, with the pauses between them made short.
const SHORTEST_MS = 350;
const LONGEST_MS = 2_500;
const FASTER = 12;
const MOST_WAITING = 5;

const controls = () => document.getElementById("controls");
const link = (action) => controls().querySelector(`a[data-action="${action}"][href]`);

function toEnd() {
  window.scrollTo({ top: document.documentElement.scrollHeight });
}

// Takes the parts over that differ between two steps; whoever has a button in focus keeps it.
function show(fresh) {
  for (const id of ["replay-facts", "rounds", "where"]) {
    document.getElementById(id).replaceChildren(...fresh.getElementById(id).childNodes);
  }
  const next = fresh.getElementById("controls");
  document.getElementById("progress").value = fresh.getElementById("progress").getAttribute("value");
  if (next.dataset.wait === undefined) delete controls().dataset.wait;
  else controls().dataset.wait = next.dataset.wait;
  for (const old of controls().querySelectorAll("a[data-action]")) {
    const same = next.querySelector(`a[data-action="${old.dataset.action}"]`);
    for (const name of ["href", "aria-disabled"]) {
      if (same.hasAttribute(name)) old.setAttribute(name, same.getAttribute(name));
      else old.removeAttribute(name);
    }
  }
  toEnd();
}

async function go(action) {
  const to = link(action)?.getAttribute("href");
  if (!to) return false;
  const response = await fetch(to, { headers: { Accept: "text/html" } });
  if (!response.ok || response.redirected) {
    location.assign(to);
    return false;
  }
  show(new DOMParser().parseFromString(await response.text(), "text/html"));
  history.replaceState(null, "", to);
  return true;
}

export function replay() {
  if (document.body.dataset.page !== "replay") return;
  const play = controls().querySelector("button[data-action=play]");
  let timer = 0;
  let isPlaying = false;
  let line = Promise.resolve(false);
  let waiting = 0;

  const say = () => {
    play.textContent = isPlaying ? "Pause" : "Play";
    play.setAttribute("aria-pressed", String(isPlaying));
  };
  const stop = () => {
    clearTimeout(timer);
    isPlaying = false;
    say();
  };
  // One after the other; of a key that is held down only some.
  const step = (action) => {
    if (waiting >= MOST_WAITING) return line;
    waiting += 1;
    line = line.then(async () => {
      try {
        return await go(action);
      } catch {
        // The server cannot be reached: the next key stroke tries again.
        return false;
      } finally {
        waiting -= 1;
      }
    });
    return line;
  };
  const later = () => {
    const wait = Number(controls().dataset.wait ?? 0) / FASTER;
    timer = setTimeout(async () => {
      if (!isPlaying) return;
      if (await step("on")) later();
      else stop();
    }, Math.min(Math.max(wait, SHORTEST_MS), LONGEST_MS));
  };
  const toggle = async () => {
    if (isPlaying) return stop();
    isPlaying = true;
    say();
    if (!link("on")) await step("first");
    later();
  };

  play.hidden = false;
  say();
  toEnd();
  play.addEventListener("click", toggle);
  controls().addEventListener("click", (event) => {
    const chosen = event.target.closest("a[data-action]");
    if (!chosen || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    stop();
    step(chosen.dataset.action);
  });
  const keys = { ArrowRight: "on", ArrowLeft: "back", Home: "first", End: "last" };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.key === " " && !event.target.closest("button, summary, a")) {
      event.preventDefault();
      toggle();
    }
    const action = keys[event.key];
    if (!action) return;
    event.preventDefault();
    stop();
    step(action);
  });
}
