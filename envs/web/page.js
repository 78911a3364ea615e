// The interface for Python, `window.tutelage`: begin an episode, observe, prepare for input.
// Parts to hide: they stand beside the task and would widen the page, or cover it after the episode.
const HIDDEN = "#reward-display, #click-canvas, #sync-task-cover";
const SPOTS = [0.5, 0.25, 0.75, 0.1, 0.9];
const LONGEST_BEGINNING = 60000; // ms of the page's time
const STRIDE = 100;
const pointer = { x: -1, y: -1, over: null };
let started = 0;
let held = [];
let told = new WeakMap(); // scroll position of each element when the page was last notified
let outcome = null;

// A user's own page defines `window.task`: begin(seed), end()?, instruction(), outcome() → {done, reward}.
const task = () =>
  window.task || {
    begin(seed) {
      core.countdownTimer = () => undefined; // it only displays the seconds
      Math.seedrandom(seed);
      core.setDataMode("train");
      core.EPISODE_MAX_TIME = 1e9; // the number of steps is the limit, not the clock
      core.startEpisodeReal();
    },
    end: () => core.endEpisode(0),
    instruction() {
      const said = core.getUtterance(); // some pages return the fields, too
      return typeof said === "string" ? said : said.utterance;
    },
    outcome: () => ({ done: WOB_DONE_GLOBAL, reward: WOB_RAW_REWARD_GLOBAL }),
  };

// Preload every picture named in styles, scripts and text: a picture that is not loaded has no size.
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

const settled = (pictures_) => Promise.all(pictures_.map((picture) => picture.decode().catch(() => null)));

const guard = () => {
  const stay = (event) => {
    const link = event.target.closest && event.target.closest("a[href]");
    const away = link && new URL(link.href).href.split("#")[0] !== location.href.split("#")[0];
    if (event.type === "submit" || (away && link.protocol !== "javascript:")) event.preventDefault();
  };
  window.addEventListener("click", stay);
  window.addEventListener("submit", stay);
  // the browser's own dragging of links and selections takes mouse events away from the page
  window.addEventListener("dragstart", (event) => event.preventDefault(), true);
  window.alert = () => undefined;
  window.confirm = () => true;
  window.prompt = () => null;
  window.open = () => null;
};

const watch = () => {
  const follow = (event) => Object.assign(pointer, { x: event.clientX, y: event.clientY, over: event.target });
  // for an element that comes to lie under a resting pointer, the browser fires `mouseover` only, after a frame
  const still = (event) => pointer.isNudged && event.stopImmediatePropagation();
  window.addEventListener("mouseover", follow, true);
  window.addEventListener("mousemove", follow, true);
  window.addEventListener("mousemove", still, true);
  window.addEventListener("pointermove", still, true);
  window.addEventListener("mousedown", follow, true);
  window.addEventListener("mouseout", (event) => {
    if (!event.relatedTarget) Object.assign(pointer, { x: -1, y: -1, over: null });
  }, true);
  window.addEventListener("mousedown", () => (pointer.isDown = true), true);
  window.addEventListener("mouseup", () => {
    pointer.isDown = false;
    putBack();
    held = [];
  }, true);
  clock.listen("scroll", (event) => {
    putBack();
    const part = event.target === document ? document.scrollingElement : event.target;
    const isOld = told.get(part) === placeOf(part);
    told.set(part, placeOf(part));
    if (isOld) event.stopImmediatePropagation(); // it was restored before the page was notified
  });
  document.body.addEventListener("click", (event) => elements.touch(event.target));
};

// Tab continues from the last click; in a new episode the first Tab starts at the top.
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

// The browser removes the focus from a hidden element with its next frame: wait for it.
const focusSettled = async () => {
  const isGone = (element) =>
    element && element !== document.body && (!element.getClientRects().length || element.disabled);
  for (let frames = 0; frames < 3 && isGone(document.activeElement); frames += 1) await clock.frame();
};

// Deliver pending events that the browser fires with frames before anything else happens.
const caughtUp = async () => {
  if (clock.isWatching()) await clock.frame();
};

// Whether the element under the pointer differs from the one that the page was notified of, or that its style shows.
const stale = () => {
  if (pointer.isDown) return false; // the pressed element captures the pointer
  const under = pointer.x < 0 ? null : document.elementFromPoint(pointer.x, pointer.y);
  return under !== pointer.over || (under !== null && !under.matches(":hover"));
};

// Wait for a page that begins asynchronously; its time goes on meanwhile, in case it waits for that.
const begun = async (beginning) => {
  if (!beginning?.then) return;
  let isOver = false;
  beginning.then(() => (isOver = true), () => (isOver = true));
  for (let waited = 0; !isOver && waited < LONGEST_BEGINNING; waited += STRIDE) {
    await requests.settled();
    await null;
    if (!isOver) await clock.advance(STRIDE);
  }
  if (isOver) await beginning;
  else throw new Error(`begin took more than ${LONGEST_BEGINNING / 1000} s of the page's time`);
};

// If the pointer is stale, Python nudges it next, unless this was the `last` observation.
const look = async (last = false) => {
  pointer.isNudged = false;
  const late = [...document.images].filter((image) => !image.complete);
  if (requests.isOpen()) await requests.settled();
  await settled(late.filter((image) => image.complete));
  await focusSettled();
  if (window.scrollX) window.scrollTo(0, window.scrollY);
  outcome = task().outcome();
  pointer.isNudged = !last && stale();
  return { instruction: task().instruction(), ...outcome, ...elements.list(), stale: stale() };
};

const placeOf = (part) => `${part.scrollTop} ${part.scrollLeft}`;

const putBack = () => {
  for (const [element, top, left] of held) Object.assign(element, { scrollTop: top, scrollLeft: left });
};

const keepPlaces = () => (held = held.map(([element]) => [element, element.scrollTop, element.scrollLeft]));

const scrollable = (from) => {
  for (let element = from; element; element = element.parentElement) {
    const style = getComputedStyle(element);
    if (element.scrollHeight > element.clientHeight && /auto|scroll/.test(style.overflowY)) return element;
    if (element instanceof HTMLSelectElement && element.scrollHeight > element.clientHeight) return element;
    if (element instanceof HTMLTextAreaElement) return element;
  }
  return document.scrollingElement;
};

window.tutelage = {
  ready: () => ready.then(() => location.href),

  // Begin the episode of a seed; null if the page is still busy with the last one and must be reloaded.
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
    fields.begin();
    told = new WeakMap();
    await begun(task().begin(seed));
    await caughtUp();
    if (requests.isOpen()) await requests.settled();
    await clock.advance(100);
    return look();
  },

  // From the following press until the release, keep all scroll positions: the browser scrolls while a selection is
  // dragged, by an amount that depends on real time.
  hold() {
    const parts = [...document.querySelectorAll("*")].filter((element) => element.scrollHeight > element.clientHeight);
    const places = parts.map((element) => [element, element.scrollTop, element.scrollLeft]);
    for (const element of parts) told.set(element, placeOf(element));
    window.addEventListener("mousedown", () => (held = places), { capture: true, once: true });
  },

  // Right after a press: the arrows of a number field, held down, keep counting in real time; making the field
  // read-only for a moment stops that.
  steady() {
    const field = document.activeElement;
    if (field instanceof HTMLInputElement && field.type === "number" && !field.readOnly) {
      field.readOnly = true;
      field.readOnly = false;
    }
  },

  // Advance the clock and observe; null, before advancing, if the pointer must be moved first.
  async step(span, frame, whatever) {
    if (frame) await clock.frame();
    else await caughtUp();
    pointer.isNudged = !whatever && stale();
    if (pointer.isNudged) return null;
    if (requests.isOpen()) await requests.settled();
    await clock.advance(span);
    await caughtUp();
    return look();
  },

  look,

  // The position of a point of an element, scrolled into view if necessary; null if the element is gone. If its
  // center is covered, a visible part of it, where a person would click. The third value is whether a scroll bar is
  // there.
  async point(ref, x, y) {
    const element = elements.find(ref);
    if (!element) return null;
    const place = (right, down) => {
      const rect = element.getBoundingClientRect();
      return [rect.left + right * rect.width, rect.top + down * rect.height];
    };
    const shows = (at) => element.contains(bars.over(...at));
    const spot = (at) => [...at, bars.isAt(...at)];
    if (shows(place(x, y))) return spot(place(x, y));
    element.scrollIntoView({ block: "nearest", inline: "nearest" });
    keepPlaces();
    await caughtUp();
    if (shows(place(x, y)) || x !== 0.5 || y !== 0.5) return spot(place(x, y));
    for (const down of SPOTS) {
      for (const right of SPOTS) {
        if (shows(place(right, down))) return spot(place(right, down));
      }
    }
    return spot(place(x, y));
  },

  // The ref of the element at a position.
  at: (x, y) => elements.refOver(bars.over(x, y)),

  // Mouse input on a scroll bar.
  pressBar(x, y, times) {
    bars.press(x, y, times);
    return caughtUp();
  },
  dragBar(x, y) {
    bars.drag(x, y);
    return caughtUp();
  },

  // The options of a list, and those chosen.
  options(ref) {
    const { options, multiple } = elements.find(ref) || { options: [] };
    const chosen = [...options].flatMap((option, index) => (option.selected ? [index] : []));
    return { options: [...options].map((option) => option.text.trim()), chosen, several: Boolean(multiple) };
  },

  // Scroll an element, or its nearest scrollable ancestor, by some px; 0 is the page.
  scroll(ref, amount) {
    scrollable(elements.find(ref)).scrollBy(0, amount);
    keepPlaces();
  },

  focus(ref, touch) {
    const element = elements.find(ref);
    if (element && document.activeElement !== element) element.focus();
    if (element && touch) elements.touch(element);
    return caughtUp();
  },

  // Set a field to a text and advance the clock as `step` does; returns the remaining keys if it takes keys only. The
  // click before may have ended the episode.
  async type(ref, text, span) {
    await caughtUp();
    const element = elements.find(ref);
    const keys = element && !task().outcome().done ? fields.fill(element, text) : null;
    return keys ? { keys } : this.step(span, false, false);
  },
};
