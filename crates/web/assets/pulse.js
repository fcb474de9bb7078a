// Lists and the inbox: when something changed, the page is fetched again and what differs is put in.
import { tick } from "./clock.js";
import { olderThan, readOn } from "./endless.js";
import { announce } from "./patch.js";

const AGAIN_MS = 3_000;
const FIGURES_MS = 10_000;

// Keeps what is the same (and what somebody is writing in), adds what is new, takes away what went.
function reconcile(old, fresh, kept = []) {
  const known = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  const keep = [...fresh.children].map((child) => {
    const same = child.id && known.get(child.id);
    if (!same) return child;
    const isHold = same.querySelector("[data-hold]");
    if (isHold || same.isEqualNode(child)) return same;
    return child;
  });
  keep.push(...kept);
  const holder = document.activeElement;
  const lost = holder && old.contains(holder) && !keep.some((child) => child.contains(holder));
  if (keep.length !== old.children.length || keep.some((child, n) => child !== old.children[n])) {
    // Moving an element would take its focus: only what has to move is moved.
    for (const child of [...old.children]) if (!keep.includes(child)) child.remove();
    keep.forEach((child, n) => {
      if (old.children[n] !== child) old.insertBefore(child, old.children[n] ?? null);
    });
  }
  if (lost) old.querySelector("[data-nav]")?.focus();
}

async function refresh() {
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!response.ok || response.redirected) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  const before = document.querySelectorAll("#inbox [data-hold]").length;
  for (const element of document.querySelectorAll("[data-refresh]")) {
    const next = fresh.getElementById(element.id);
    if (!next) continue;
    const rows = element.querySelector(":scope > .rows");
    const freshRows = next.querySelector(":scope > .rows");
    if (rows && freshRows) {
      await readOn(element, next, freshRows);
      reconcile(rows, freshRows, olderThan(rows, freshRows));
      // The first page has become full; a list that was scrolled to its end has been there.
      const more = next.querySelector(":scope > #more");
      if (more && !element.dataset.pages && !element.querySelector(":scope > #more")) element.append(more);
    } else if (element.innerHTML !== next.innerHTML) reconcileOrReplace(element, next);
  }
  document.title = fresh.title;
  const after = document.querySelectorAll("#inbox [data-hold]").length;
  if (after > before) announce("Something new waits for you");
  tick();
}

function reconcileOrReplace(element, next) {
  if ([...next.children].some((child) => child.id)) reconcile(element, next);
  else element.replaceChildren(...next.childNodes);
}

export function followLists() {
  const page = document.body.dataset.page;
  if (!["home", "list", "inbox", "operations", "conversation"].includes(page)) return;
  let busy = false;
  let again = false;
  const update = async () => {
    if (page === "conversation") return;
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      await refresh();
    } catch {
      // The stream says when the server is back.
    }
    busy = false;
    if (again) {
      again = false;
      update();
    }
  };
  document.addEventListener("holdpoint:sent", update);
  if (page === "conversation") return;
  let source = null;
  const connect = (first) => {
    if (document.hidden) return;
    source = new EventSource("/pulse");
    source.addEventListener("open", () => !first && update());
    source.addEventListener("changed", update);
    source.addEventListener("error", () => {
      source?.close();
      source = null;
      setTimeout(() => source ?? connect(false), AGAIN_MS);
    });
  };
  // Connections are few, over all tabs of a browser: one that nobody looks at needs none.
  const letGo = () => {
    source?.close();
    source = null;
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) letGo();
    else if (!source) connect(false);
  });
  window.addEventListener("pagehide", letGo);
  window.addEventListener("pageshow", (event) => {
    if (event.persisted && !source) connect(false);
  });
  connect(true);
  // Figures of the machine change without anything's happening.
  if (page === "operations") setInterval(() => document.hidden || update(), FIGURES_MS);
}
