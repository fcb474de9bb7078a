// Keeps relative times fresh, in the same words as the server's.
const TICK_MS = 1_000;

function ago(ms) {
  const away = Math.floor(Math.abs(ms) / 1000);
  const ahead = ms < 0;
  if (away < 60) return ahead ? "in under a minute" : "just now";
  const units = (unit) => (ahead ? Math.ceil(away / unit) : Math.floor(away / unit));
  const short = away < 3_600 ? `${units(60)} min` : away < 86_400 ? `${units(3_600)} h` : `${units(86_400)} d`;
  return ahead ? `in ${short}` : `${short} ago`;
}

function length(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const [d, h, m] = [Math.floor(s / 86_400), Math.floor(s / 3_600) % 24, Math.floor(s / 60) % 60];
  if (d) return h ? `${d} d ${h} h` : `${d} d`;
  if (h) return m ? `${h} h ${m} min` : `${h} h`;
  return m ? `${m} min` : `${s} s`;
}

export function tick() {
  const now = Date.now();
  for (const time of document.querySelectorAll("time[data-clock]")) {
    const ms = now - Date.parse(time.dateTime);
    const words = time.dataset.clock === "since" ? length(ms) : ago(ms);
    if (time.textContent !== words) time.textContent = words;
  }
}

export function keepClocks() {
  tick();
  setInterval(tick, TICK_MS);
}
