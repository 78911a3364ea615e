// A virtual clock, installed before the page's own scripts: it advances by `clock.advance` only, so that timers,
// frames and dates of a page depend on the actions only.
const clock = (() => {
  "use strict";
  const BEGINNING = Date.UTC(2017, 9, 16, 12);
  const FRAME = 16;
  const MOST = 10000; // most timers fired in one advance, against pages that set timers endlessly
  const RealDate = Date;
  const realFrame = window.requestAnimationFrame.bind(window);
  const timers = new Map();
  let now = 0;
  let last = 0;

  const add = (call, due, every) => {
    last += 1;
    timers.set(last, { id: last, call, due, every });
    return last;
  };
  const callable = (code, extra) =>
    typeof code === "function" ? () => code.apply(window, extra) : () => (0, eval)(String(code));

  window.setTimeout = (code, delay = 0, ...extra) => add(callable(code, extra), now + Math.max(1, +delay || 0), 0);
  window.setInterval = (code, delay = 0, ...extra) => {
    const every = Math.max(4, +delay || 0);
    return add(callable(code, extra), now + every, every);
  };
  window.requestAnimationFrame = (call) => add(() => call(now), now - (now % FRAME) + FRAME, 0);
  window.requestIdleCallback = (call) => add(() => call({ didTimeout: false, timeRemaining: () => 50 }), now + 1, 0);
  for (const name of ["clearTimeout", "clearInterval", "cancelAnimationFrame", "cancelIdleCallback"]) {
    window[name] = (id) => void timers.delete(id);
  }
  performance.now = () => now;

  // Whether the page uses features that the browser notifies with its own frames (observers).
  let isWatching = false;
  const listen = EventTarget.prototype.addEventListener;
  EventTarget.prototype.addEventListener = function (name, ...rest) {
    if (name === "scroll" || name === "scrollend") isWatching = true;
    return listen.call(this, name, ...rest);
  };
  for (const name of ["ResizeObserver", "IntersectionObserver"]) {
    window[name] = new Proxy(window[name], {
      construct(target, given, made) {
        isWatching = true;
        return Reflect.construct(target, given, made);
      },
    });
  }

  RealDate.now = () => BEGINNING + now;
  window.Date = new Proxy(RealDate, {
    apply: () => new RealDate(BEGINNING + now).toString(),
    construct: (target, given, made) => Reflect.construct(target, given.length ? given : [BEGINNING + now], made),
  });
  RealDate.prototype.constructor = window.Date;

  const first = (end) => {
    let found = null;
    for (const timer of timers.values()) {
      if (timer.due <= end && (!found || timer.due < found.due || (timer.due === found.due && timer.id < found.id)))
        found = timer;
    }
    return found;
  };

  return {
    // Advance by `span` ms; between two timers the page's promise callbacks run.
    async advance(span) {
      const end = now + span;
      let timer = first(end);
      for (let fired = 0; timer && fired < MOST; fired += 1) {
        now = Math.max(now, timer.due);
        if (timer.every) timer.due = now + timer.every;
        else timers.delete(timer.id);
        try {
          timer.call();
        } catch (error) {
          console.error(error);
        }
        await null;
        if (requests.isOpen()) await requests.settled();
        timer = first(end);
      }
      now = end;
    },
    pending: () => timers.size,
    set: (time) => void (now = time),
    now: () => now,
    // Wait for a real frame, for events that the browser fires with frames.
    frame: () => new Promise((done) => realFrame(() => done())),
    isWatching: () => isWatching || document.querySelector("[onscroll]") !== null || Boolean(window.onscroll),
    listen: (name, call) => listen.call(window, name, call, true),
  };
})();
