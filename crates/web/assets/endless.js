// A list that goes on: what is older is fetched before somebody has scrolled to the end. Without this there is a
// link to it.
import { tick } from "./clock.js";

const AHEAD = "0px 0px 900px 0px";
// Of a long list that was scrolled through, so many pages are looked at again when something changed.
const READ_AGAIN = 3;

const linkOf = (list) => list?.querySelector(":scope > #more a[rel=next]");

async function page(address) {
  const response = await fetch(address, { headers: { Accept: "text/html" } });
  if (!response.ok || response.redirected) return null;
  return new DOMParser().parseFromString(await response.text(), "text/html").querySelector("[data-endless]");
}

const has = (rows, row) => [...rows.children].some((other) => other.id === row.id);

// The rows of a list that come after all fresh ones: they were scrolled to, and are still there.
export function olderThan(rows, fresh) {
  const last = fresh.lastElementChild?.dataset.place;
  if (!last || !rows.parentElement.dataset.pages) return [];
  const place = (text) => [Number(text.split(".")[0]), text];
  const [at, text] = place(last);
  return [...rows.children].filter((row) => {
    const [then, whole] = place(row.dataset.place ?? last);
    return then < at || (then === at && whole < text);
  });
}

// Adds to the fresh first page those after it that had been scrolled to, as far as is worth it.
export async function readOn(list, fresh, rows) {
  let link = linkOf(fresh);
  for (let n = 1; link && n < Math.min(Number(list.dataset.pages ?? 1), READ_AGAIN); n += 1) {
    const next = await page(link.href);
    if (!next) return;
    for (const row of [...(next.querySelector(".rows")?.children ?? [])]) if (!has(rows, row)) rows.append(row);
    link = linkOf(next);
  }
}

export function goOn() {
  const list = document.querySelector("[data-endless]");
  if (!list) return;
  let busy = false;
  const more = async () => {
    const link = linkOf(list);
    if (busy || !link) return;
    busy = true;
    try {
      const next = await page(link.href);
      if (next) {
        const rows = list.querySelector(":scope > .rows");
        for (const row of [...(next.querySelector(".rows")?.children ?? [])]) if (!has(rows, row)) rows.append(row);
        const after = linkOf(next);
        if (after) link.href = after.href;
        else link.closest("#more").remove();
        list.dataset.pages = Number(list.dataset.pages ?? 1) + 1;
        tick();
      }
    } catch {
      // The link is still there.
    }
    busy = false;
    watch();
  };
  const eye = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && more(), { rootMargin: AHEAD });
  // Observed anew, so that a link which is still in sight is noticed.
  const watch = () => {
    eye.disconnect();
    const link = linkOf(list);
    if (link) eye.observe(link);
  };
  new MutationObserver(watch).observe(list, { childList: true });
  watch();
}
