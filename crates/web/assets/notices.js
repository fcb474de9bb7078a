// Tells somebody who does not look that something waits for them: in the title, and, where they asked for it, by
// the browser's own notifications. Asked for with a button and by nothing else.
const KEY = "holdpoint-notices";
const SEEN = "holdpoint-notices-seen";
const LOCK = "holdpoint-watch";
// More at once are told as one.
const AT_ONCE = 3;

const can = () => "Notification" in window && "locks" in navigator;
const on = () => can() && Notification.permission === "granted" && localStorage.getItem(KEY) === "on";
const isAway = () => document.hidden || !document.hasFocus();

function tell(text, url, tag) {
  try {
    const notice = new Notification("Holdpoint", { body: text, tag });
    notice.addEventListener("click", () => {
      window.focus();
      notice.close();
      location.assign(url);
    });
  } catch {
    // Some browsers on phones have the word and not the thing.
  }
}

// What is new since it was last looked at, by the server's clock.
function news({ newest, mine }) {
  const seen = JSON.parse(localStorage.getItem(SEEN) ?? "null");
  const at = Math.max(seen?.at ?? 0, ...newest.map((one) => one.at));
  localStorage.setItem(SEEN, JSON.stringify({ at, mine }));
  if (!seen || !on()) return;
  const fresh = newest.filter((one) => one.at > seen.at);
  if (fresh.length > AT_ONCE) tell(`${fresh.length} more wait for you`, "/inbox", "many");
  else for (const one of fresh) tell(one.text, one.url, one.url);
  if (mine > seen.mine) tell("Something was assigned to you", "/inbox?whose=me", "mine");
}

async function look() {
  try {
    const response = await fetch("/inbox/waiting", { headers: { Accept: "application/json" } });
    if (!response.ok || response.redirected) return;
    const waiting = await response.json();
    if (document.body.dataset.page !== "conversation") {
      const title = document.title.replace(/^\(\d+\) /, "");
      document.title = waiting.count > 0 ? `(${waiting.count}) ${title}` : title;
    }
    news(waiting);
  } catch {
    // The next change looks again.
  }
}

function offer() {
  const button = document.getElementById("notices");
  if (!button || !can()) return;
  const show = () => {
    const isBlocked = Notification.permission === "denied";
    button.hidden = false;
    button.disabled = isBlocked;
    button.setAttribute("aria-pressed", String(on()));
    button.textContent = isBlocked ? "Notifications are blocked in this browser" : on() ? "Stop notifying me here" : "Notify me in this browser";
  };
  button.addEventListener("click", async () => {
    if (on()) {
      localStorage.removeItem(KEY);
    } else if ((await Notification.requestPermission()) === "granted") {
      localStorage.setItem(KEY, "on");
      localStorage.removeItem(SEEN);
      await look();
    }
    show();
  });
  show();
}

// Connections are few, over all tabs of a browser: of those that nobody looks at, one keeps watch for all.
export function keepWatch() {
  offer();
  if (!can() || !document.querySelector("header.top nav")) return;
  let source = null;
  const settle = () => {
    if (isAway() && !source) {
      look();
      source = new EventSource("/pulse");
      source.addEventListener("changed", look);
    } else if (!isAway()) {
      source?.close();
      source = null;
    }
  };
  navigator.locks.request(LOCK, () => {
    for (const event of ["blur", "focus", "pageshow"]) window.addEventListener(event, settle);
    document.addEventListener("visibilitychange", settle);
    settle();
    return new Promise(() => {});
  });
}
