// Follows a conversation: fragments as things happen, the model's words as it writes them. Comes
// back by itself after a restart of the server, with the last id that it saw.
import { announce, patch } from "./patch.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
// A browser opens six connections to one server, over all its tabs: those that nobody looks at for
// a while let go of theirs.
const LET_GO_AFTER_MS = 60_000;
// A short break is not worth a word.
const SAY_AFTER_MS = 1_500;

export function followConversation() {
  const main = document.querySelector("main[data-live]");
  if (!main) return;
  const live = document.getElementById("live");
  const banner = document.getElementById("connection");
  const title = document.title;
  let seq = main.dataset.seq;
  let wait = FIRST_WAIT_MS;
  let sayTimer = 0;
  let retryTimer = 0;
  let letGoTimer = 0;
  let source = null;
  let attempt = "";
  const blocks = new Map();

  const isAtEnd = () => window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 160;
  const openHold = () => document.querySelector("#rounds [data-hold][data-state=open]");
  // What is asked is read from its beginning; everything else from its end.
  const showNow = () => {
    const hold = openHold();
    if (hold) hold.scrollIntoView({ block: "start" });
    else window.scrollTo({ top: document.documentElement.scrollHeight });
  };
  // Whoever reads further up, or writes an answer, is left there.
  const keepEnd = (change) => {
    const asked = openHold();
    const follow = isAtEnd();
    change();
    if (openHold() !== asked ? follow || document.activeElement === document.body : follow && !openHold()) showNow();
  };

  const connection = (state) => {
    // Every failed try is still the same break.
    if (state === main.dataset.connection) return;
    main.dataset.connection = state;
    clearTimeout(sayTimer);
    if (state === "reconnecting") {
      sayTimer = setTimeout(() => (banner.hidden = false), SAY_AFTER_MS);
    } else {
      banner.hidden = true;
    }
  };

  const clearDeltas = () => {
    blocks.clear();
    live.replaceChildren();
    live.hidden = true;
  };

  const onDelta = (delta) => {
    // A subagent's words come as whole blocks.
    if (delta.parent_tool_use_id) return;
    if (delta.attempt !== attempt) {
      attempt = delta.attempt;
      clearDeltas();
    }
    let block = blocks.get(delta.index);
    if (!block) {
      block = document.createElement("div");
      block.className = delta.kind === "thinking" ? "live-thinking" : "live-text";
      blocks.set(delta.index, block);
      live.append(block);
    }
    live.hidden = false;
    block.append(delta.text);
  };

  const onPatch = (data) => {
    // A whole block: what was written of it so far is in it.
    if (['class="answer"', 'class="thinking"', 'id="t-'].some((mark) => data.html.includes(mark))) clearDeltas();
    patch(data.html);
    main.dataset.status = data.status;
    document.title = data.status === "awaiting" ? `● ${title}` : title;
    announce(data.news);
  };

  const connect = () => {
    source = new EventSource(`${main.dataset.live}&after=${seq}`);
    source.addEventListener("open", () => {
      connection("live");
      wait = FIRST_WAIT_MS;
    });
    source.addEventListener("patch", (event) => {
      if (event.lastEventId) seq = event.lastEventId;
      keepEnd(() => onPatch(JSON.parse(event.data)));
    });
    source.addEventListener("delta", (event) => keepEnd(() => onDelta(JSON.parse(event.data))));
    source.addEventListener("end", () => {
      source.close();
      clearDeltas();
      connection("ended");
    });
    source.addEventListener("error", () => {
      // Also where the browser would try by itself: it gives up on some answers, we do not.
      source.close();
      clearDeltas();
      connection("reconnecting");
      retryTimer = setTimeout(connect, wait * (0.75 + Math.random() / 2));
      wait = Math.min(wait * 2, LONGEST_WAIT_MS);
    });
  };

  if (main.dataset.status === "awaiting") document.title = `● ${title}`;
  // A long conversation opens where it is now, unless the address names a place in it.
  if (!location.hash) showNow();
  connect();

  const letGo = () => {
    if (main.dataset.connection === "ended") return;
    clearTimeout(retryTimer);
    source.close();
    source = null;
    clearDeltas();
    connection("off");
  };
  document.addEventListener("visibilitychange", () => {
    clearTimeout(letGoTimer);
    if (document.hidden) letGoTimer = setTimeout(letGo, LET_GO_AFTER_MS);
    else if (!source && main.dataset.connection === "off") connect();
  });
  // A page that is left, and perhaps come back to.
  window.addEventListener("pagehide", letGo);
  window.addEventListener("pageshow", (event) => {
    if (event.persisted && main.dataset.connection === "off") connect();
  });
}
