// What the page is played on, coarsely: nothing by which one browser is told from another of its kind.

const STEP = 100; // pixels
const LARGEST = 20_000;
const FAMILIES = [
  ["Samsung Internet", /SamsungBrowser/],
  ["Opera", /OPR\/|Opera/],
  ["Edge", /Edg(e|A|iOS)?\//],
  ["Firefox", /Firefox|FxiOS/],
  ["Chrome", /Chrome|CriOS|Chromium/],
  ["Safari", /Safari/],
];

/** Return the message that tells the server of it. */
export function device() {
  const { userAgent, language } = navigator;
  const family = FAMILIES.find(([, pattern]) => pattern.test(userAgent));
  return {
    type: "device",
    device: kind(userAgent),
    browser: family ? family[0] : "other",
    width: hundreds(innerWidth),
    height: hundreds(innerHeight),
    language: /^[a-z]{2,8}/.exec(language.toLowerCase())?.[0] ?? "und",
  };
}

const hundreds = (pixels) => Math.min(Math.floor(pixels / STEP) * STEP, LARGEST);

function kind(userAgent) {
  if (/iPad|Tablet/.test(userAgent) || (/Android/.test(userAgent) && !/Mobile/.test(userAgent))) return "tablet";
  if (/Macintosh/.test(userAgent) && navigator.maxTouchPoints > 1) return "tablet"; // as new iPads say they are
  return /Mobi|iPhone/.test(userAgent) ? "phone" : "desktop";
}
