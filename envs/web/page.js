// What Python asks of a page: begin an episode, show what there is, make ready for hands. `window.tutelage`.
const HIDDEN = "#reward-display, #click-canvas"; // beside the task; they would make the page wide
const pointer = { x: -1, y: -1, over: null };
let started = 0;
let held = [];
let outcome = null;

// A page of one's own defines `window.task`: begin(seed), end()?, instruction(), outcome() → {done, reward}.
const task = () =>
  window.task || {
    begin(seed) {
      Math.seedrandom(seed);
      core.setDataMode("train");
      core.EPISODE_MAX_TIME = 1e9; // the number of steps is the limit, not the clock
      core.startEpisodeReal();
    },
    end: () => core.endEpisode(0),
    instruction: () => core.getUtterance(),
    outcome: () => ({ done: WOB_DONE_GLOBAL, reward: WOB_RAW_REWARD_GLOBAL }),
  };

// Every picture that the page's styles, scripts and text name: a picture that is not there yet has no size.
const pictures = () => {
  const sources = [document.documentElement.innerHTML];
  for (const sheet of document.styleSheets) {
    try {
      for (const rule of sheet.cssRules) sources.push(rule.cssText);
    } catch {
      // a sheet of another origin cannot be read
    }
  }
  const names = sources.join("\n").match(/[\w./-]+\.(?:png|gif|jpe?g|svg)\b/g) || [];
  return [...new Set(names)].map((name) => {
    const picture = new Image();
    picture.src = name;
    return picture;
  });
};

const settled = (pictures_) => Promise.all(pictures_.map((one) => one.decode().catch(() => null)));

const guard = () => {
  const stay = (event) => {
    const link = event.target.closest && event.target.closest("a[href]");
    const away = link && new URL(link.href).href.split("#")[0] !== location.href.split("#")[0];
    if (event.type === "submit" || (away && link.protocol !== "javascript:")) event.preventDefault();
  };
  window.addEventListener("click", stay);
  window.addEventListener("submit", stay);
  // a browser's own dragging of links and selections takes the mouse away from the page
  window.addEventListener("dragstart", (event) => event.preventDefault(), true);
  window.alert = () => undefined;
  window.confirm = () => true;
  window.prompt = () => null;
  window.open = () => null;
};

const watch = () => {
  const follow = (event) => Object.assign(pointer, { x: event.clientX, y: event.clientY, over: event.target });
  window.addEventListener("mouseover", follow, true);
  window.addEventListener("mousemove", follow, true);
  window.addEventListener("mouseout", (event) => {
    if (!event.relatedTarget) Object.assign(pointer, { x: -1, y: -1, over: null });
  }, true);
  window.addEventListener("mousedown", () => (pointer.isDown = true), true);
  window.addEventListener("mouseup", () => {
    pointer.isDown = false;
    putBack();
    held = [];
  }, true);
  window.addEventListener("scroll", putBack, true);
  document.body.addEventListener("click", (event) => elements.touch(event.target));
};

// Tab goes on from where the last click was; a new episode's first Tab begins at the top.
const unfocus = () => {
  const top = document.createElement("span");
  top.tabIndex = 0;
  document.body.prepend(top);
  top.focus({ preventScroll: true });
  top.remove();
};

const ready = new Promise((done) => window.addEventListener("load", done)).then(async () => {
  guard();
  watch();
  const style = document.createElement("style");
  style.textContent = `${HIDDEN} { display: none !important; }
    html { overflow: hidden !important; }
    *, *::before, *::after { transition: none !important; animation: none !important;
      caret-color: transparent !important; scroll-behavior: auto !important; }`;
  document.head.append(style);
  pointer.kept = pictures();
  await settled(pointer.kept);
  await clock.advance(1000);
  started = clock.now();
});

// A browser takes the focus from what is not shown any more with its next frame: wait for that.
const focusSettled = async () => {
  const isGone = (one) => one && one !== document.body && (!one.getClientRects().length || one.disabled);
  for (let frames = 0; frames < 3 && isGone(document.activeElement); frames += 1) await clock.frame();
};

// Whether something else lies under the pointer than the page has heard of, or than its style shows.
const stale = () => {
  if (pointer.isDown) return false; // what was pressed has the pointer
  const under = pointer.x < 0 ? null : document.elementFromPoint(pointer.x, pointer.y);
  return under !== pointer.over || (under !== null && !under.matches(":hover"));
};

const look = async () => {
  await settled([...document.images].filter((one) => !one.complete));
  await focusSettled();
  if (window.scrollX) window.scrollTo(0, window.scrollY);
  outcome = task().outcome();
  return { instruction: task().instruction(), ...outcome, ...elements.list(), stale: stale() };
};

const putBack = () => {
  for (const [one, top, left] of held) Object.assign(one, { scrollTop: top, scrollLeft: left });
};

const keepPlaces = () => (held = held.map(([one]) => [one, one.scrollTop, one.scrollLeft]));

const scrollable = (from) => {
  for (let one = from; one; one = one.parentElement) {
    const style = getComputedStyle(one);
    if (one.scrollHeight > one.clientHeight && /auto|scroll/.test(style.overflowY)) return one;
    if (one instanceof HTMLSelectElement && one.scrollHeight > one.clientHeight) return one;
    if (one instanceof HTMLTextAreaElement) return one;
  }
  return document.scrollingElement;
};

// What a person may type into a date or a time field, as the field's own value.
const asValue = (kind, text) => {
  const date = text.match(/^(\d{1,2})\/(\d{1,2})\/(\d{4})$/);
  if (kind === "date" && date)
    return `${date[3]}-${date[1].padStart(2, "0")}-${date[2].padStart(2, "0")}`;
  const time = text.match(/^(\d{1,2}):(\d{2})\s*([AP])\.?M\.?$/i);
  if (kind === "time" && time)
    return `${String((+time[1] % 12) + (/p/i.test(time[3]) ? 12 : 0)).padStart(2, "0")}:${time[2]}`;
  return kind === "time" && /^\d:\d{2}$/.test(text) ? `0${text}` : text;
};

const tell = (element, ...names) => {
  for (const name of names) element.dispatchEvent(new Event(name, { bubbles: true }));
};

const choose = (select, text) => {
  const wanted = new Set(select.multiple ? text.split(",").map((one) => one.trim()) : [text.trim()]);
  const options = [...select.options];
  const lower = (one) => one.toLowerCase();
  let chosen = options.filter((one) => wanted.has(one.text.trim()));
  // as a browser does for typed letters: the first option that begins so
  if (!chosen.length) chosen = options.filter((one) => lower(one.text.trim()).startsWith(lower(text))).slice(0, 1);
  if (!chosen.length || !text) return;
  for (const one of options) one.selected = chosen.includes(one);
  elements.touch(select);
  tell(select, "input", "change");
};

const PICKED = new Set(["date", "time", "month", "week", "datetime-local", "color", "range"]);

window.tutelage = {
  ready: () => ready.then(() => location.href),

  // Begin the episode of a seed; null when the page is still busy with the last one and must be loaded anew.
  async begin(seed) {
    if (outcome) {
      if (task().end) task().end();
      await clock.advance(2000);
      if (clock.pending()) return null;
      clock.set(started);
    }
    unfocus();
    window.scrollTo(0, 0);
    elements.begin();
    task().begin(seed);
    await clock.advance(100);
    return look();
  },

  // From the press that follows until the release, keep every scrolled part where it is, unless it is moved by
  // its scroll bar: a browser scrolls under a selection that is drawn, as far as its own time allows.
  hold() {
    const parts = [...document.querySelectorAll("*")].filter((one) => one.scrollHeight > one.clientHeight);
    const places = parts.map((one) => [one, one.scrollTop, one.scrollLeft]);
    const pressed = (event) => {
      const box = event.target.getBoundingClientRect();
      const isBar = parts.includes(event.target) && event.clientX - box.left > event.target.clientWidth;
      held = isBar ? [] : places;
    };
    window.addEventListener("mousedown", pressed, { capture: true, once: true });
  },

  // Let time pass and look; null, before any passes, when the pointer must be moved first.
  async step(span, frame, whatever) {
    if (frame) await clock.frame();
    if (!whatever && stale()) return null;
    await clock.advance(span);
    return look();
  },

  look,

  // Bring a point of an element into view; where it is then, or null when the element is gone.
  point(ref, x, y) {
    const element = elements.find(ref);
    if (!element) return null;
    element.scrollIntoView({ block: "nearest", inline: "nearest" });
    keepPlaces();
    const rect = element.getBoundingClientRect();
    return [rect.left + x * rect.width, rect.top + y * rect.height];
  },

  // Scroll an element, or what it lies in, by some px; 0 is the page.
  scroll(ref, amount) {
    scrollable(elements.find(ref)).scrollBy(0, amount);
    keepPlaces();
  },

  focus(ref) {
    const element = elements.find(ref);
    if (element && document.activeElement !== element) element.focus();
  },

  // Empty a field for the text that follows, or fill it where letters are of no use; says what keys are left.
  prepare(ref, text) {
    const element = elements.find(ref);
    if (task().outcome().done || !element) return null;
    if (element instanceof HTMLSelectElement) {
      element.focus();
      choose(element, text);
      return null;
    }
    if (PICKED.has(element.type)) {
      element.focus();
      element.value = asValue(element.type, text);
      tell(element, "input", "change");
      return null;
    }
    if (typeof element.value === "string") {
      const filled = element.value !== "";
      if (element.select) element.select();
      return filled && !text ? "\b" : text;
    }
    return text;
  },
};
