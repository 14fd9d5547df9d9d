"""What the page of all hosts does beyond HTML: it finds, copies, and unfolds for paper. All is there without it, too.

Most of a large page is text within ``<noscript>``, which a browser that runs scripts need not read as HTML before it is
to be seen, and one that runs none reads at once.
"""

SCRIPT = """
(() => {
  "use strict";
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const bar = document.querySelector(".bar"), search = document.querySelector("#search");
  const host = document.querySelector("#host"), show = document.querySelector("#show");
  const said = document.querySelector("#found"), copied = document.querySelector("#copied");
  const parts = all(".part"), groups = all(".group"), texts = new Map();
  const ROW = 42, VISIBLE = 500, PARTS = 50;

  const folded = (part) => part.firstElementChild && part.firstElementChild.localName === "noscript";
  function unfold(part) {
    if (!folded(part)) return;
    texts.delete(part);
    part.innerHTML = part.firstElementChild.textContent;
    part.style.minHeight = "";
  }
  const unfoldAll = () => parts.forEach(unfold);

  // A folded part takes about the room that it will have, so that the page does not jump.
  const near = new IntersectionObserver((seen) => {
    for (const one of seen) if (one.isIntersecting) { near.unobserve(one.target); unfold(one.target); }
  }, { rootMargin: "1500px" });
  for (const part of parts) {
    const height = part.dataset.items * ROW + "px";
    part.style.containIntrinsicBlockSize = "auto " + height;
    if (!folded(part)) continue;
    part.style.minHeight = height;
    near.observe(part);
  }

  // The rest follows while nothing else is to be done, for the browser's own search; of very many it would be too much.
  const later = window.requestIdleCallback || ((call) => setTimeout(() => call({ timeRemaining: () => 5 }), 50));
  function unfoldLater(time) {
    const left = parts.filter(folded);
    while (left.length && time.timeRemaining() > 3) unfold(left.shift());
    if (left.length) later(unfoldLater); else document.documentElement.dataset.whole = "yes";
  }
  if (parts.length < PARTS) addEventListener("load", () => setTimeout(() => later(unfoldLater), 1000));

  // What is folded is searched as it is: only a part that may hold what is sought is unfolded.
  const text = (item) => texts.get(item) || texts.set(item, item.textContent.toLowerCase()).get(item);
  const escaped = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;" };
  const asWritten = (word) => word.replace(/[&<>"']/g, (sign) => escaped[sign]);
  function mayHold(part, words, mark) {
    return (!mark || mark.test(part.textContent)) && words.every((word) => text(part).includes(asWritten(word)));
  }
  // What is sought by host and status, as it stands in data-on: the host's number and a word, "0fail 2ok".
  function soughtMark() {
    if (!host.value && !show.value) return null;
    return new RegExp(`data-on="(?:[^"]* )?${host.value || "[0-9]+"}(?:${show.value || "[a-z]+"})[ "]`);
  }
  function find() {
    const words = search.value.toLowerCase().split(/\\s+/).filter(Boolean), mark = soughtMark();
    const isAll = !words.length && !mark;
    const isMarked = (item) => !mark || mark.test(`data-on="${item.dataset.on}"`);
    for (const card of all(".host")) card.hidden = Boolean(host.value) && parseInt(card.dataset.on) != host.value;
    const count = { domain: [0, 0], finding: [0, 0] };
    for (const part of parts.filter(folded)) {
      if (isAll || !mayHold(part, words, mark)) {
        part.hidden = !isAll;
        count[part.closest(".group") ? "finding" : "domain"][isAll ? 0 : 1] += Number(part.dataset.items);
      } else unfold(part);
    }
    for (const item of all(".domain, .finding")) {
      const kind = item.classList.contains("domain") ? "domain" : "finding";
      const shown = isAll || (isMarked(item) && words.every((word) => text(item).includes(word)));
      if (item.hidden === shown) item.hidden = !shown;
      count[kind][shown ? 0 : 1] += 1;
    }
    for (const holder of [...parts.filter((part) => !folded(part)), ...groups]) {
      holder.hidden = !isAll && !holder.querySelector(".domain:not([hidden]), .finding:not([hidden])");
    }
    document.body.classList.toggle("found", !isAll && count.domain[0] < VISIBLE);
    const share = (kind, name) => {
      const [shown, not] = count[kind];
      return `${shown.toLocaleString("en")} of ${(shown + not).toLocaleString("en")} ${name}`;
    };
    said.textContent = isAll ? "" : `${share("domain", "domains")}, ${share("finding", "findings")}`;
  }
  let soon;
  search.addEventListener("input", () => { clearTimeout(soon); soon = setTimeout(find, 120); });
  for (const one of [host, show]) one.addEventListener("change", find);
  bar.addEventListener("submit", (event) => { event.preventDefault(); find(); });
  bar.hidden = false;
  document.documentElement.classList.add("scripted");
  new ResizeObserver(() => document.documentElement.style.setProperty("--bar", bar.offsetHeight + "px")).observe(bar);

  // Without https a browser has no clipboard for scripts: what is selected can still be copied.
  function select(code) {
    getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  }
  async function copy(button) {
    const code = button.parentElement.querySelector("code");
    const isDone = await (async () => navigator.clipboard.writeText(code.textContent).then(() => true))()
      .catch(() => select(code));
    for (const other of all(".copy b")) other.textContent = "Copy";
    button.querySelector("b").textContent = isDone ? "Copied" : "Copy";
    copied.textContent = isDone ? "Copied." : "The browser did not allow it; the record is selected.";
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".copy");
    if (button) copy(button);
  });

  // A link may lead into what is folded.
  function follow() {
    const id = location.hash.slice(1);
    if (!id) return;
    for (const part of parts) if (folded(part) && part.textContent.includes(`id="${id}"`)) unfold(part);
    const target = document.getElementById(id);
    if (!target) return;
    for (let one = target; one; one = one.parentElement) {
      one.hidden = false;
      if (one.localName === "details") one.open = true;
    }
    target.scrollIntoView();
  }
  addEventListener("hashchange", follow);
  follow();

  let closed = [];
  addEventListener("beforeprint", () => {
    unfoldAll();
    closed = all("details:not([open])");
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of closed) one.open = false; });
})();
"""
