// Set fields to a given text, as far as that does not take the browser's own keys.
const fields = (() => {
  "use strict";
  // Convert what a person may type into a date or time field to the field's value.
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
    const labels = new Set(select.multiple ? text.split(",").map((name) => name.trim()) : [text.trim()]);
    const options = [...select.options];
    const lower = (name) => name.toLowerCase();
    let chosen = options.filter((option) => labels.has(option.text.trim()));
    // as browsers do for typed letters: the first option with this prefix
    if (!chosen.length) chosen = options.filter((option) => lower(option.text.trim()).startsWith(lower(text))).slice(0, 1);
    if (!chosen.length || !text) return;
    for (const option of options) option.selected = chosen.includes(option);
    elements.touch(select);
    tell(select, "input", "change");
  };

  const PICKED = new Set(["date", "time", "month", "week", "datetime-local", "color", "range"]);

  const press = (element, name, letter) => {
    const code = letter.length === 1 ? letter.toUpperCase().charCodeAt(0) : 0;
    const numbers = name === "keypress" ? { keyCode: letter.charCodeAt(0), charCode: letter.charCodeAt(0) } : { keyCode: code };
    const event = new KeyboardEvent(name, { key: letter, bubbles: true, cancelable: true, composed: true, ...numbers });
    return element.dispatchEvent(event);
  };

  // Replace the whole content by the browser's own editing, with key events around each character.
  const write = (element, text) => {
    element.select();
    if (!text && element.value) document.execCommand("delete");
    for (const letter of text) {
      if (press(element, "keydown", letter) && press(element, "keypress", letter))
        document.execCommand("insertText", false, letter);
      press(element, "keyup", letter);
    }
  };

  // A clipboard for this page and episode: the browser's own is shared by all its tabs.
  let clipboard = "";
  const copied = () => {
    const field = document.activeElement;
    const isField = typeof field.selectionStart === "number";
    return isField ? field.value.slice(field.selectionStart, field.selectionEnd) : String(getSelection());
  };
  for (const name of ["copy", "cut"]) window.addEventListener(name, () => (clipboard = copied()), true);
  window.addEventListener(
    "paste",
    (event) => {
      event.preventDefault();
      if (clipboard) document.execCommand("insertText", false, clipboard);
    },
    true,
  );

  return {
    begin: () => void (clipboard = ""),
    // Fill a field; returns the text that is left for real keys: all of it if the element is not a field.
    fill(element, text) {
      if (element instanceof HTMLSelectElement) {
        element.focus();
        choose(element, text);
        return "";
      }
      if (PICKED.has(element.type)) {
        element.focus();
        element.value = asValue(element.type, text);
        tell(element, "input", "change");
        return "";
      }
      const isText = element instanceof HTMLInputElement || element instanceof HTMLTextAreaElement;
      if (!isText || document.activeElement !== element) return text;
      if (/[\b\n\t]/.test(text)) {
        element.select();
        return text;
      }
      write(element, text);
      return "";
    },
  };
})();
