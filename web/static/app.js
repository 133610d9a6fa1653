// Everything here is an addition: pages read and forms work without it.
"use strict";

(() => {
  const root = document.documentElement;
  const csrf = () => document.body.dataset.csrf;

  // ---- theme: switches in place instead of following the link
  document.querySelector("[data-theme-toggle]")?.addEventListener("click", (event) => {
    event.preventDefault();
    const systemDark = matchMedia("(prefers-color-scheme: dark)").matches;
    const dark = root.dataset.theme === "dark" || (root.dataset.theme === "auto" && systemDark);
    root.dataset.theme = dark ? "light" : "dark";
    document.cookie = `plumbline_theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=lax`;
  });

  // ---- times: the same wording as the server's
  const ago = (then) => {
    const seconds = Math.trunc((Date.now() - then) / 1000);
    const s = Math.abs(seconds);
    if (s < 5) return "just now";
    const text = s < 90 ? `${s} s` : s < 5400 ? `${Math.round(s / 60)} min` : s < 129600 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
    return seconds >= 0 ? `${text} ago` : `in ${text}`;
  };
  const tick = () => {
    for (const time of document.querySelectorAll("time[datetime]")) {
      const then = Date.parse(time.dateTime);
      if (Number.isNaN(then)) continue;
      const text = ago(then);
      if (time.textContent !== text) time.textContent = text;
    }
  };
  setInterval(tick, 5000);
  tick();

  // ---- a slider shows its answer while it is dragged; without this its button does
  for (const form of document.querySelectorAll("form[data-drag]")) {
    let waiting, asked = 0;
    const ask = async () => {
      const mine = ++asked;
      const query = new URLSearchParams(new FormData(form));
      try {
        const response = await fetch(`${form.action}?${query}`, { headers: { accept: "text/html" } });
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        const fresh = page.getElementById(form.dataset.drag);
        if (fresh && mine === asked) document.getElementById(form.dataset.drag).replaceChildren(...fresh.childNodes);
      } catch { /* the button still works */ }
    };
    form.addEventListener("input", () => {
      const range = form.querySelector("input[type=range]");
      form.querySelector("output").textContent = `${range.value} %`;
      clearTimeout(waiting);
      waiting = setTimeout(ask, 120);
    });
  }

  // ---- copying hashes and tokens
  document.addEventListener("click", async (event) => {
    const source = event.target.closest("[data-copy]");
    if (!source || source.closest("a, summary") || !navigator.clipboard) return;
    try {
      await navigator.clipboard.writeText(source.dataset.copy);
      source.classList.add("copied");
      setTimeout(() => source.classList.remove("copied"), 1200);
    } catch { /* the text can still be selected */ }
  });

  // ---- calls to copy: with this very address in them
  for (const code of document.querySelectorAll("[data-curl]")) {
    for (const text of code.childNodes) {
      if (text.nodeType === Node.TEXT_NODE) text.data = text.data.replace("$PLUMBLINE_URL", location.origin);
    }
    const button = code.parentElement.querySelector("[data-copy-code]");
    if (!button || !navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 1500);
      } catch { /* the text can still be selected */ }
    });
  }

  // ---- a form is sent once; its key makes a second time harmless anyway
  document.addEventListener("submit", (event) => {
    const sent = event.target;
    if (sent.method !== "post" || event.defaultPrevented) return;
    if (sent.dataset.sent) return event.preventDefault();
    sent.dataset.sent = "1";
    // An answer that never came: it can be sent again, and the key tells whether it had arrived.
    setTimeout(() => delete sent.dataset.sent, 15000);
  });
  // Back from the next page: the form is there again and may be changed and sent.
  addEventListener("pageshow", () => {
    for (const sent of document.querySelectorAll("form[data-sent]")) delete sent.dataset.sent;
  });

  // ---- what scrolls sideways can be reached and scrolled by keyboard, and only while it does
  const reach = () => {
    for (const box of document.querySelectorAll(".table-wrap, pre.code, .diff, .formula")) {
      const scrolls = box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1;
      if (scrolls === box.hasAttribute("tabindex")) continue;
      if (!scrolls) {
        for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
        continue;
      }
      const heading = box.closest("section, details")?.querySelector("h2, h3, summary");
      box.tabIndex = 0;
      box.setAttribute("role", "region");
      box.setAttribute("aria-label", `${heading?.innerText.trim() || "Table"}, scrolls`);
    }
  };
  addEventListener("resize", reach);
  document.addEventListener("toggle", reach, true);
  reach();

  // ---- charts: hover and arrow keys read values off
  const element = (name, className) => {
    const made = document.createElement(name);
    made.className = className;
    return made;
  };
  const shownDrawing = (chart) => [...chart.querySelectorAll(".drawing")].find((drawing) => drawing.offsetParent !== null);
  // The table under a chart has its values; each row says where it stands in the wide and in the narrow drawing.
  const readings = (chart) => {
    if (!chart.readingList) {
      const rows = chart.closest("figure").querySelectorAll("tr[data-at]");
      chart.readingList = [...rows].reverse().map((row) => ({ at: row.dataset.at.split(" ").map(Number), head: row.cells[0].textContent, text: row.cells[1].textContent }));
    }
    const from = shownDrawing(chart)?.classList.contains("narrow") ? 2 : 0;
    return chart.readingList.map((one) => ({ x: one.at[from], y: one.at[from + 1], head: one.head, text: one.text }));
  };
  const hide = (chart) => {
    for (const part of chart.querySelectorAll(".cross, .cross-dot, .readout")) part.remove();
    delete chart.dataset.at;
  };
  const show = (chart, index, aloud) => {
    const drawing = shownDrawing(chart);
    const list = drawing ? readings(chart) : [];
    if (!list.length) return;
    const at = Math.max(0, Math.min(list.length - 1, index));
    const reading = list[at];
    let out = drawing.querySelector(".readout");
    if (!out) {
      hide(chart);
      out = element("div", "readout");
      out.setAttribute("aria-hidden", "true");
      out.append(document.createElement("b"), document.createElement("span"));
      drawing.append(element("div", "cross"), element("div", "cross-dot"), out);
    }
    chart.dataset.at = at;
    drawing.querySelector(".cross").style.left = `${reading.x * 100}%`;
    const dot = drawing.querySelector(".cross-dot");
    dot.style.left = `${reading.x * 100}%`;
    dot.style.top = `${reading.y * 100}%`;
    out.firstChild.textContent = reading.head;
    out.lastChild.textContent = reading.text;
    // Spoken only where keys moved it: a pointer crosses dozens of values.
    if (aloud) chart.querySelector("[data-said]").textContent = `${reading.head}, ${reading.text}, ${at + 1} of ${list.length}`;
    const right = reading.x > 0.55;
    out.style.left = right ? "auto" : `calc(${reading.x * 100}% + 12px)`;
    out.style.right = right ? `calc(${(1 - reading.x) * 100}% + 12px)` : "auto";
    out.style.top = reading.y > 0.5 ? "6%" : "55%";
  };
  document.addEventListener("pointermove", (event) => {
    const chart = event.target.closest?.("[data-chart]");
    for (const other of document.querySelectorAll("[data-chart][data-at]")) {
      if (other !== chart && other !== document.activeElement) hide(other);
    }
    const drawing = chart && shownDrawing(chart);
    if (!drawing) return;
    const box = drawing.getBoundingClientRect();
    if (event.clientY > box.bottom) return;
    const x = (event.clientX - box.left) / box.width;
    const list = readings(chart);
    let best = 0;
    list.forEach((reading, index) => {
      if (Math.abs(reading.x - x) <= Math.abs(list[best].x - x)) best = index;
    });
    show(chart, best);
  });
  document.addEventListener("keydown", (event) => {
    const chart = event.target.closest?.("[data-chart]");
    if (!chart || event.target !== chart) return;
    const last = shownDrawing(chart) ? readings(chart).length - 1 : -1;
    const at = chart.dataset.at === undefined ? last + 1 : Number(chart.dataset.at);
    const next = { ArrowLeft: at - 1, ArrowRight: at + 1, PageDown: at - 10, PageUp: at + 10, Home: 0, End: last }[event.key];
    if (event.key === "Escape") hide(chart);
    if (next === undefined) return;
    event.preventDefault();
    show(chart, next, true);
  });
  document.addEventListener("focusout", (event) => {
    if (event.target.matches?.("[data-chart]")) hide(event.target);
  });

  // ---- attaching files: each is uploaded at once, its hash goes into the form
  const attach = document.querySelector("[data-attach]");
  if (attach) {
    attach.hidden = false;
    const out = attach.querySelector("[data-attach-out]");
    const hashes = document.getElementById("attachments");
    const types = { txt: "text/plain", md: "text/markdown", csv: "text/csv", json: "application/json", jsonl: "application/jsonl", png: "image/png", jpg: "image/jpeg", jpeg: "image/jpeg", pdf: "application/pdf" };
    attach.querySelector("input").addEventListener("change", async (event) => {
      for (const file of event.target.files) {
        const type = types[file.name.split(".").pop().toLowerCase()] ?? file.type;
        out.textContent = `Attaching ${file.name}…`;
        try {
          const answer = await fetch("/api/v1/attachments", { method: "POST", headers: { "Content-Type": type, "X-CSRF-Token": csrf() }, body: file });
          const body = await answer.json();
          if (!answer.ok) { out.textContent = `${file.name}: ${body.detail}`; continue; }
          const known = hashes.value.split(/\s+/).filter(Boolean);
          if (!known.includes(body.hash)) hashes.value = [...known, body.hash].join("\n");
          out.textContent = `${file.name} is attached.`;
        } catch { out.textContent = `${file.name} could not be sent.`; }
      }
      event.target.value = "";
    });
  }

  // ---- quote as one types: the same dry run as the Quote button
  const form = document.querySelector("form[data-quote]");
  if (form) {
    const out = form.querySelector("[data-quote-out]");
    const unit = form.querySelector("[data-unit]");
    const units = { spend: "credits", sell: "shares", target: "%" };
    let timer = 0;
    let asked = 0;
    const percent = (value) => `${(value * 100).toFixed(1)}%`;
    const credits = (micro) => (Math.abs(micro) / 1e6).toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
    const line = (name, value) => {
      const row = document.createElement("div");
      row.append(document.createElement("dt"), document.createElement("dd"));
      row.firstChild.textContent = name;
      row.lastChild.textContent = value;
      return row;
    };
    const say = (text, error) => {
      const told = element("p", error ? "bad-text" : "muted");
      told.textContent = text;
      out.replaceChildren(told);
    };
    const order = () => {
      const amount = Number(form.amount.value.replace(/[,\s_%]/g, ""));
      if (!form.amount.value.trim() || !Number.isFinite(amount)) return null;
      const size = { spend: { spend_micro: Math.round(amount * 1e6) }, sell: { shares_micro: -Math.round(amount * 1e6) }, target: { target_probability: amount / 100 } };
      return { outcome: form.outcome.value, ...size[form.mode.value] };
    };
    const quote = async () => {
      unit.textContent = units[form.mode.value];
      const wanted = order();
      if (!wanted) return;
      const curl = form.querySelector("[data-curl-body]");
      if (curl) curl.textContent = JSON.stringify(wanted);
      const turn = ++asked;
      try {
        const answer = await fetch(form.dataset.quote, { method: "POST", headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf() }, body: JSON.stringify(wanted) });
        const body = await answer.json();
        if (turn !== asked) return;
        if (!answer.ok) return say(body.detail, true);
        const list = element("dl", "facts");
        list.append(
          line(body.total_micro < 0 ? "You receive" : "You pay", `${credits(body.total_micro)} cr${body.fee_micro > 0 ? `, of it ${credits(body.fee_micro)} fees` : ""}`),
          line(`Shares of ${body.outcome}`, credits(body.shares_micro)),
          line("Price", `${percent(body.probability_before)} → ${percent(body.probability_after)}`),
        );
        out.replaceChildren(list);
        if (body.truncated) {
          const note = element("p", "muted");
          note.textContent = "Less than asked: the price reached its limit.";
          out.append(note);
        }
      } catch { /* the Quote button still works */ }
    };
    form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(quote, 250); });
    unit.textContent = units[form.mode.value];
  }

  // ---- deep links into folded parts of a page
  const unfold = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") target.open = true;
  };
  addEventListener("hashchange", unfold);
  unfold();

  // ---- secret votes: the opening of a committed vote stays in this browser until it is revealed
  const keptName = (panel) => `plumbline-opening-${panel}`;
  for (const kept of document.querySelectorAll("[data-opening]")) {
    try {
      localStorage.setItem(keptName(kept.dataset.opening), kept.value);
      const note = kept.parentElement?.querySelector("[data-opening-kept]");
      if (note) note.hidden = false;
    } catch { /* without storage the person keeps the text */ }
    kept.addEventListener("focus", () => kept.select());
  }
  for (const field of document.querySelectorAll("[data-opening-for]")) {
    try {
      if (!field.value) field.value = localStorage.getItem(keptName(field.dataset.openingFor)) ?? "";
    } catch { /* the person pastes it */ }
  }

  // ---- live: an event says that something changed, the page is fetched again and its live parts replaced
  const topics = document.body.dataset.topics;
  const status = document.querySelector("[data-live-status]");
  if (topics && window.EventSource && status) {
    const PAUSE_MS = 1500;
    let waiting = false;
    let lastAt = 0;
    const openKeys = (part) => new Set([...part.querySelectorAll("details[open][data-key]")].map((one) => one.dataset.key));
    const swap = (part, fresh) => {
      if (part.innerHTML === fresh.innerHTML) return;
      // Never pull a control away from under somebody.
      const active = document.activeElement;
      const chart = active?.matches?.("[data-chart]") && part.contains(active) ? [...part.querySelectorAll("[data-chart]")].indexOf(active) : -1;
      if (chart < 0 && active !== document.body && part.contains(active) && active.matches("input, select, textarea, .term")) return;
      if (part.querySelector(":hover [data-at], [data-at]:hover, .term:hover")) return;
      const kept = openKeys(part);
      const at = chart >= 0 ? active.dataset.at : undefined;
      part.innerHTML = fresh.innerHTML;
      for (const details of part.querySelectorAll("details[data-key]")) details.open = kept.has(details.dataset.key);
      if (chart >= 0) {
        const again = part.querySelectorAll("[data-chart]")[chart];
        again?.focus({ preventScroll: true });
        if (again && at !== undefined) show(again, Number(at));
      }
    };
    const refresh = async () => {
      waiting = false;
      lastAt = Date.now();
      try {
        const answer = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
        if (!answer.ok) return;
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const part of document.querySelectorAll("[data-live][id]")) {
          const next = fresh.getElementById(part.id);
          if (next) swap(part, next);
        }
        tick();
        reach();
      } catch { /* the next event tries again */ }
    };
    const schedule = () => {
      if (waiting || document.hidden) return;
      waiting = true;
      setTimeout(refresh, Math.max(200, PAUSE_MS - (Date.now() - lastAt)));
    };
    // From where the page stands: nothing that happened since it was made is missed.
    const after = document.body.dataset.after ? `&after=${document.body.dataset.after}` : "";
    const source = new EventSource(`/api/v1/events?topics=${encodeURIComponent(topics)}${after}`);
    source.onopen = () => { status.hidden = false; status.classList.remove("off"); };
    source.onerror = () => status.classList.add("off");
    source.onmessage = schedule;
    const every = Number(document.body.dataset.every);
    if (every > 0) setInterval(schedule, every * 1000);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) schedule(); });
  }
})();
