// Warren's own script. Every page works without it; with it, pages are live,
// times tick, charts answer to the mouse, and the keyboard reaches everything.
(() => {
  "use strict";
  const root = document.documentElement;
  const base = root.dataset.base ?? ""; // path below which the dashboard is mounted
  const $ = (sel, from = document) => from.querySelector(sel);
  const $$ = (sel, from = document) => [...from.querySelectorAll(sel)];
  const say = (text) => { $("#announce").textContent = text; };
  const cookie = (name, value) => { document.cookie = `${name}${root.dataset.cookies ?? ""}=${value}; path=${base}/; max-age=31536000; samesite=lax`; };
  const typing = (el) => el?.matches?.("textarea, select, [contenteditable], input:not([type=checkbox], [type=radio], [type=button], [type=submit])");
  root.classList.add("js");

  // ---- Times. The server's clock counts: data-now is its time at page load.
  const skew = Number(document.body.dataset.now) - Date.now();
  const now = () => Date.now() + skew;
  const utc = () => document.body.dataset.tz === "utc";

  // The same words as ui.Relative and ui.Duration write on the server.
  const two = (a, ua, b, ub) => `${a} ${ua}` + (b ? ` ${b} ${ub}` : "");
  function span(s) {
    if (s < 60) return `${s} s`;
    if (s < 3600) return two(Math.floor(s / 60), "m", s % 60, "s");
    if (s < 86400) return two(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "m");
    if (s < 2592000) return two(Math.floor(s / 86400), "d", Math.floor((s % 86400) / 3600), "h");
    return `${Math.floor(s / 86400)} d`;
  }
  const zoneName = (d) => new Intl.DateTimeFormat("en", { timeZoneName: "short", ...zone() }).formatToParts(d).find((x) => x.type === "timeZoneName").value;
  function absolute(ms) {
    const d = new Date(ms);
    if (utc()) return d.toISOString().slice(0, 19).replace("T", " ") + " UTC";
    const p = (n) => String(n).padStart(2, "0");
    return `${d.getFullYear()}-${p(d.getMonth() + 1)}-${p(d.getDate())} ${p(d.getHours())}:${p(d.getMinutes())}:${p(d.getSeconds())} ${zoneName(d)}`;
  }
  const zone = () => (utc() ? { timeZone: "UTC" } : {});
  const dayOf = (ms, as) => new Date(ms).toLocaleDateString("en-GB", { day: "numeric", month: "short", ...as, ...zone() });
  function timeOfDay(ms) {
    const date = dayOf(ms) === dayOf(now()) ? "" : dayOf(ms) + " ";
    return date + words(ms, "time") + (utc() ? " UTC" : "");
  }
  function minute(ms) {
    const date = dayOf(ms) === dayOf(now()) ? "today" : dayOf(ms);
    return `${date} ${words(ms, "time").slice(0, 5)}` + (utc() ? " UTC" : "");
  }
  function words(ms, mode) {
    const s = Math.floor((now() - ms) / 1000);
    if (mode === "clock") return timeOfDay(ms);
    if (mode === "minute") return minute(ms);
    if (mode === "day") return dayOf(ms, { month: "long", year: "numeric" }) + (utc() ? " UTC" : "");
    if (mode === "time") return new Date(ms).toLocaleTimeString("en-GB", zone());
    if (mode === "when") return Math.abs(s) >= 300 ? "at " + timeOfDay(ms) : words(ms, s < 0 ? "in" : "ago");
    if (mode === "absolute") return absolute(ms);
    if (mode === "zone") return zoneName(ms);
    const far = span(Math.abs(s) < 600 ? Math.abs(s) : Math.abs(s) - Math.abs(s) % 60); // seconds of a long time are noise
    if (mode === "for") return s < 0 ? span(0) : far;
    if (mode === "in") return s < 0 ? "in " + far : s < 2 ? "due now" : "overdue by " + far;
    return s < 1 ? "just now" : far + " ago";
  }
  function tick(all) {
    const sel = document.getSelection();
    age();
    for (const t of $$("time[data-time]")) {
      const ms = Date.parse(t.dateTime), mode = t.dataset.time;
      if (all === true) t.title = absolute(ms);
      // What may have ended or begun since it was last known does not go on.
      if ((mode === "for" || mode === "in" || ms > seen(t)) && still(t)) continue;
      const text = words(ms, mode);
      // Text that is being selected is left alone.
      if (t.textContent !== text && !(sel && !sel.isCollapsed && sel.containsNode(t, true))) t.textContent = text;
    }
    // A day is a heading above the first row of it.
    let day;
    for (const h of $$("[data-day]")) { h.hidden = h.textContent === day; day = h.textContent; }
  }
  // ---- Live. Named messages become events on #live and bubble to the body;
  // while somebody reads, selects or chooses, they wait and are told in words.
  const live = $("#live");
  const liveSwitch = $("#live-switch");
  const waiting = new Map();
  let paused = false;
  let offline = false;
  let out = false;     // signed out: what is shown stays, and the switch leads to the sign-in page
  let known = false;   // connected once: any further connection must catch up
  const late = document.hidden; // the page was drawn long before it is seen: so must the first
  let retryDelay = 500;
  let asking = 0;      // timer, where something in between holds the stream back: everything is asked for every 5 s

  function busy() {
    const sel = document.getSelection();
    if (sel && !sel.isCollapsed && sel.anchorNode?.parentElement?.closest("[data-live]")) return true;
    if ($("[data-live] details[data-menu][open], .is-dragged")) return true;
    return typing(document.activeElement) && !!document.activeElement.closest("[data-live]");
  }
  const held = () => paused || busy();

  // ---- Freshness. A region is true up to now while changes come in and its source answers. Else it is
  // as old as when that was last so, and its clocks stop.
  const regions = () => $$("[data-live]");
  const trueAt = new WeakMap(); // by region
  const ofBroker = "[data-source=broker]";
  const away = (source) => root.dataset.away === source;
  function sources() {
    const of = $("#sources")?.dataset.of;
    if (of === "database" || (of && $(ofBroker))) root.dataset.away = of; else delete root.dataset.away;
  }
  const blind = () => paused || offline || out || waiting.size > 0 || away("database");
  const still = (el) => el.closest(".is-gone, .is-stale") || (away("broker") && el.closest(ofBroker)) || (blind() && el.closest("[data-live]"));
  const seen = (el) => trueAt.get(el.closest("[data-live]")) ?? Number(document.body.dataset.now);
  function age() {
    for (const r of regions()) if (!still(r)) trueAt.set(r, now());
    const fresh = $("#fresh time"), at = Math.min(($(ofBroker) && $("#sources")?.dataset.broker) || now(), ...regions().map(seen));
    const old = now() - at >= 15000 || !!root.dataset.away; // the broker is sampled every 5 s
    if (fresh) fresh.dateTime = new Date(old ? at : now()).toISOString();
    $("#fresh")?.classList.toggle("is-old", old);
  }

  // ---- Lists stand still. While the reader points at a list, has focused or ticked a row, or has
  // scrolled past its beginning, its rows are brought up to date where they are: new ones collect
  // behind "12 new", and one that has left the list is dimmed.
  const collected = new Map(); // rows by the id of their region
  const bodies = (from) => $$("tbody:has([data-row])", from);
  function reads(region) {
    const first = $("tbody [data-row]", region);
    return !!first && (first.getBoundingClientRect().top < 80 || $(".tbl-wrap:hover, tbody [data-row]:focus-within, [data-pick]:checked", region) !== null);
  }
  // stand puts the rows of a fragment in the places of those that are shown; false: it cannot.
  function stand(region, fragment) {
    const old = bodies(region), fresh = bodies(fragment);
    if (old.length !== fresh.length || $$("[data-row]:not([id])", region).length) return false;
    let n = 0;
    old.forEach((body, i) => {
      const rows = new Map([...fresh[i].children].map((r) => [r.id, r]));
      const same = [...body.children].map((r) => {
        const row = rows.get(r.id) ?? r.cloneNode(true);
        row.classList.toggle("is-gone", !rows.delete(r.id));
        return row;
      });
      n += rows.size;
      fresh[i].replaceChildren(...same);
    });
    collected.set(region.id, n);
    return true;
  }
  // flow lets the rows in. Those that are shown do not move: others take their places.
  function flow(region, fragment) {
    collected.delete(region.id);
    const old = bodies(region), fresh = bodies(fragment), order = (b) => [...b.children].map((r) => r.id).join();
    old.forEach((b, i) => { if (fresh[i] && order(b) !== order(fresh[i]) && !b.contains(document.activeElement) && !$("details[open]", b)) b.replaceChildren(); });
  }
  const news = () => [...collected.values()].reduce((a, b) => a + b, 0);
  const letIn = (asked) => {
    for (const id of collected.keys()) {
      const region = document.getElementById(id);
      if (!region) { collected.delete(id); continue; }
      if (!asked && (reads(region) || held())) continue;
      collected.delete(id);
      htmx.trigger(region, "refresh", { asked });
      if (asked && $("tbody [data-row]", region).getBoundingClientRect().top < 0) region.scrollIntoView();
    }
  };
  function showNews() {
    for (const region of $$("[data-live]:has(tbody [data-row])")) {
      const n = collected.get(region.id), at = $("thead .grow", region);
      let b = $("[data-news]", region);
      if (!n || !at) { b?.remove(); continue; }
      if (!b) {
        b = document.createElement("button");
        b.type = "button";
        b.className = "news";
        b.dataset.news = "";
        b.title = "Show new rows (n)";
        at.append(b);
      }
      const text = `${n} new`;
      if (b.textContent !== text) b.textContent = text;
    }
  }

  function showLive() {
    if (!liveSwitch) return;
    showNews();
    const rows = news(), n = rows || [...waiting.values()].reduce((a, b) => a + b, 0);
    const old = root.dataset.away ? " · " + root.dataset.away : $(".is-stale[data-live]") ? "" : null;
    const state = out ? "out" : offline ? "offline" : paused ? "paused" : old !== null ? "stale" : asking ? "asking" : rows || (n && busy()) ? "held" : "live";
    liveSwitch.hidden = false;
    liveSwitch.dataset.jsState = state;
    liveSwitch.setAttribute("aria-pressed", String(paused));
    const [word, title] = {
      live: ["Live", "Updates as things change. Press to pause (p)."],
      paused: ["Paused", "Press to go live (p)."],
      held: ["Live", "New rows wait while you read, select or choose. Press to show them (n)."],
      stale: ["Stale" + old, "What is dimmed is old."],
      offline: ["Reconnecting…", "No connection. What is shown may be old."],
      asking: ["Every 5 s", "Warren cannot send changes to this page, so it asks every 5 s. Press to pause (p)."],
      out: ["Sign in again", "You are signed out. What is shown may be old. Press to sign in again."],
    }[state];
    liveSwitch.title = title;
    const more = n && (state === "paused" || state === "held") ? ` · ${n > 99 ? "99+" : n} new` : "";
    $("[data-live-word]", liveSwitch).textContent = word + more;
  }
  function release(asked) {
    const names = [...waiting.keys()];
    waiting.clear();
    for (const name of names) htmx.trigger(live, name, { asked });
    letIn(asked);
    showLive();
  }
  if (live) {
    live.addEventListener("htmx:sse:before:message", (e) => {
      const name = e.detail.message.event;
      // Unnamed messages and health change counts and pills, which nobody is inside of.
      if (!name || name === "health" || !held()) return;
      waiting.set(name, (waiting.get(name) || 0) + 1);
      e.preventDefault();
      showLive();
    });
    // What is on its way when the reader begins to select or choose waits too, unless he has asked for it.
    document.addEventListener("htmx:before:swap", (e) => {
      const { ctx: { sourceElement: region, sourceEvent: why }, tasks } = e.detail;
      const topic = live.dataset.topics.split(" ").find((t) => t === why?.type);
      const task = tasks.find((t) => t.target === region);
      if (!region.matches("[data-live]") || !(topic || why?.type === "refresh") || !task) return;
      if (why.detail?.asked) flow(region, task.fragment);
      else if (held()) {
        e.preventDefault();
        if (topic) waiting.set(topic, waiting.get(topic) || 1); else collected.set(region.id, collected.get(region.id) || 1);
      } else if (!reads(region)) flow(region, task.fragment);
      else if (!stand(region, task.fragment)) { e.preventDefault(); collected.set(region.id, 1); }
      if (e.defaultPrevented) showLive();
    });
    const everything = () => {
      for (const t of live.dataset.topics.split(" ")) held() && t !== "health" ? waiting.set(t, waiting.get(t) || 1) : htmx.trigger(live, t);
    };
    const ask = () => {
      if (asking) return;
      offline = false;
      asking = setInterval(() => { if (!document.hidden && !out) { everything(); showLive(); } }, 5000);
      showLive();
    };
    // A browser opens six connections to a host for all its tabs together, so a tab that nobody sees must hold none.
    // The extension lets go of the open stream of a tab that becomes hidden; a stream must not open in one either.
    const unseen = (e) => { if (document.hidden) e.preventDefault(); };
    live.addEventListener("htmx:config:request", unseen);
    live.addEventListener("htmx:sse:before:connection", unseen);
    const visible = () => {
      if (document.hidden) return;
      if (!live._htmx?.sse) htmx.trigger(live, "reconnect", {}, false);
      // A proxy that keeps the stream to itself lets it never open.
      setTimeout(() => { if (!known && !out && !offline && !document.hidden) ask(); }, 10000);
    };
    document.addEventListener("visibilitychange", visible);
    visible();
    live.addEventListener("htmx:sse:after:connection", () => {
      if (document.hidden) queueMicrotask(() => live._htmx?.sse?.reader?.cancel()); // hidden while it was on its way
      offline = false;
      clearInterval(asking);
      asking = 0;
      retryDelay = 500;
      // What happened in between is not known: everything is asked for again.
      if (known || late) everything();
      known = true;
      showLive();
    });
    const lost = () => { if (!document.hidden && !asking) { offline = true; showLive(); } };
    const signedOut = () => { if (!out) { out = true; say("You are signed out"); showLive(); } };
    document.addEventListener("htmx:response:error", (e) => { if (e.detail.ctx.response.status === 401) signedOut(); });
    live.addEventListener("htmx:response:error", (e) => { if (e.target === live && [429, 501].includes(e.detail.ctx.response.status)) ask(); });
    live.addEventListener("htmx:sse:error", (e) => { if (e.detail.status === 401) signedOut(); });
    live.addEventListener("htmx:sse:before:connection", (e) => { if (out) e.preventDefault(); });
    live.addEventListener("htmx:sse:error", lost);
    live.addEventListener("htmx:error", lost);
    // The extension reconnects a stream that was open once, but not one that never opened.
    live.addEventListener("htmx:finally:request", () => {
      if (live._htmx?.sse || out || asking || document.hidden) return;
      lost();
      setTimeout(() => htmx.trigger(live, "reconnect", {}, false), retryDelay);
      retryDelay = Math.min(retryDelay * 2, 5000);
    });
    liveSwitch.addEventListener("click", () => {
      if (out) { location.href = base + "/login?next=" + encodeURIComponent(location.pathname.slice(base.length) + location.search); return; }
      if (!paused && (waiting.size || collected.size)) { document.getSelection().removeAllRanges(); return release(true); }
      paused = !paused;
      say(paused ? "Paused" : "Live");
      if (paused) showLive(); else release(true);
    });
    // The reader has finished: what waited is shown.
    const maybe = () => setTimeout(() => { if ((waiting.size || collected.size) && !held()) release(); }, 50);
    for (const type of ["selectionchange", "focusout", "change", "toggle", "mouseout", "scroll"]) document.addEventListener(type, maybe, true);
    document.addEventListener("click", (e) => { if (e.target.closest("[data-news]")) release(true); });
    showLive();
  }
  tick(true);
  setInterval(() => { if (!document.hidden) tick(); }, 1000);

  // ---- Morph. What the reader did is kept: open details and dialogs, and by
  // htmx itself focus, typed text and what is ticked.
  htmx.registerExtension("warren", {
    htmx_before_morph_attr: (el, { attrName }) =>
      !(attrName === "open" && el.matches("details, dialog")) && !(attrName === "tabindex" && el.matches("[data-plot]")) && !(attrName === "class" && el === root),
  });

  document.addEventListener("htmx:after:swap", (e) => {
    sources();
    const region = e.target.closest?.("[data-live]");
    if (region && e.detail.ctx.response?.status < 400) {
      region.classList.remove("is-stale");
      trueAt.set(region, now());
    }
    tick(true);
    attention();
    picks();
    showLive();
    if ($("[data-mends]") && !away("database")) location.reload();
  });
  const stale = (e) => {
    const region = e.target.closest?.("[data-live]");
    if (!region) return;
    region.classList.add("is-stale");
    showLive();
    if (e.detail.ctx?.response?.status < 500) return;
    setTimeout(() => { if (region.matches(".is-stale") && !blind()) htmx.trigger(region, "refresh"); }, 5000);
  };
  document.addEventListener("htmx:response:error", stale);
  document.addEventListener("htmx:error", stale);

  // The tab's title begins with what asks for attention.
  const title = document.title.replace(/^\(\S+\) /, "");
  function attention() {
    const n = $$(".rail [data-attention]").reduce((a, el) => a + Number(el.dataset.attention), 0);
    const t = n ? `(${short(n)}) ${title}` : title;
    if (document.title !== t) document.title = t;
  }

  // ---- Menus: Escape, a click elsewhere and "Cancel" close them.
  const menus = () => $$("details[data-menu][open]");
  document.addEventListener("click", (e) => {
    const close = e.target.closest("[data-close]");
    for (const d of menus()) if (!d.contains(e.target) || close) d.open = false;
    close?.closest("dialog")?.close();
  });
  document.addEventListener("toggle", (e) => {
    if (!e.target.matches?.("details[data-menu]") || !e.target.open) return;
    for (const d of menus()) if (d !== e.target && !d.contains(e.target)) d.open = false;
    $(".confirm input:not([type=hidden])", e.target)?.focus();
  }, true);

  // The rows of a list share one dialog: the button of a row says what it asks and where the answer goes.
  document.addEventListener("click", (e) => {
    const a = e.target.closest("a[data-ask]"), d = $("#confirm");
    if (!a || !d || e.ctrlKey || e.metaKey || e.shiftKey) return;
    e.preventDefault();
    const form = $("form", d);
    form.reset();
    form.action = a.dataset.ask;
    for (const name of ["title", "consequence"]) $(`[data-${name}]`, d).textContent = a.dataset[name];
    d.showModal();
  });

  // ---- Copy, theme, time zone, help.
  async function copy(text) {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* no permission, or plain http */ }
    const box = document.createElement("textarea");
    box.value = text;
    box.className = "sr-only";
    document.body.append(box);
    box.select();
    const ok = document.execCommand("copy");
    box.remove();
    return ok;
  }
  document.addEventListener("click", async (e) => {
    const button = e.target.closest("[data-copy], [data-copy-code]");
    if (button) {
      const path = $("path", button), was = path.getAttribute("d");
      if (await copy(button.dataset.copy ?? $("pre", button.closest(".code")).textContent)) {
        say("Copied");
        path.setAttribute("d", "M3 8.5 6.5 12 13 4.5");
        setTimeout(() => path.setAttribute("d", was), 1200);
      }
      button.focus();
    }
    if (e.target.closest("[data-help]")) help();
  });
  document.addEventListener("submit", (e) => {
    const form = e.target, by = e.submitter;
    if (!form.matches("[data-theme-form], [data-tz-form]")) return;
    e.preventDefault();
    for (const b of $$("button", form)) b.setAttribute("aria-pressed", String(b === by));
    if (by.name === "theme") {
      cookie("theme", by.value);
      if (by.value === "auto") root.removeAttribute("data-theme"); else root.dataset.theme = "warren-" + by.value;
    } else {
      cookie("tz", by.value);
      if (by.value === "utc") document.body.dataset.tz = "utc"; else delete document.body.dataset.tz;
      tick(true);
      zones();
      ticks();
    }
  });

  // Times are typed on the clocks that the page shows: a form says in zone which these are, and shows its times so.
  function zones() {
    const to = utc() ? "UTC" : Intl.DateTimeFormat().resolvedOptions().timeZone;
    for (const z of $$("input[name=zone]")) {
      if (z.value === to) continue;
      for (const i of $$("[type=datetime-local]", z.form))
        if (i.value) i.value = absolute(Date.parse(i.value + (z.value === "UTC" ? "Z" : ""))).slice(0, 19).replace(" ", "T");
      for (const el of $$("[data-zone]", z.form)) el.textContent = to;
      z.value = to;
    }
  }
  zones();

  // After an action the reader is where he was.
  const place = "warren-place";
  document.addEventListener("submit", (e) => {
    if (!e.defaultPrevented && e.target.method === "post") sessionStorage.setItem(place, JSON.stringify([location.href, scrollY]));
  });
  try {
    const [href, y] = JSON.parse(sessionStorage.getItem(place)) ?? [];
    sessionStorage.removeItem(place);
    if (href === location.href) scrollTo(0, y);
  } catch { /* storage is off */ }

  // ---- Rows: a click opens, checkboxes select, Shift takes a range.
  const opener = (row) => $("[data-open], a:not([data-ask])", row);
  const rows = () => $$("[data-row]").filter((r) => r.offsetParent && opener(r));
  document.addEventListener("click", (e) => {
    const row = e.target.closest("[data-row]");
    if (!row || e.target.closest("a, button, input, label, summary, details") || !document.getSelection().isCollapsed) return;
    const a = opener(row);
    if (a) e.metaKey || e.ctrlKey ? open(a.href) : a.click();
  });
  // ---- Board: a card that is dropped on another column gets its priority, as by its select.
  let card = null;
  const columnOf = (e) => card && e.target.closest?.("[data-column]");
  const aim = (to) => { for (const c of $$(".is-target")) if (c !== to) c.classList.remove("is-target"); to?.classList.add("is-target"); };
  document.addEventListener("dragstart", (e) => {
    card = e.target.closest?.("[draggable=true]");
    if (!card) return;
    e.dataTransfer.effectAllowed = "move";
    card.classList.add("is-dragged");
  });
  document.addEventListener("dragover", (e) => {
    const column = columnOf(e);
    if (column) e.preventDefault();
    aim(column?.contains(card) ? null : column);
  });
  document.addEventListener("drop", (e) => {
    const column = columnOf(e), select = column && $("select[name=priority]", card);
    if (!select) return;
    e.preventDefault();
    if (column.contains(card)) return;
    select.value = column.dataset.column;
    select.form.requestSubmit();
  });
  document.addEventListener("dragend", () => { card?.classList.remove("is-dragged"); card = null; aim(null); });

  // The page of a job leads to its neighbours in the list that it was opened from.
  const opened = "warren-list", near = $("[data-near]");
  try {
    document.addEventListener("click", (e) => {
      if (e.target.closest("a[data-open]")) sessionStorage.setItem(opened, JSON.stringify(rows().map((r) => opener(r).getAttribute("href"))));
    });
    const list = JSON.parse(sessionStorage.getItem(opened) ?? "[]"), at = list.indexOf(location.pathname);
    if (near && at >= 0) {
      near.hidden = false;
      for (const a of $$("a", near)) {
        const to = list[at + (a.dataset.nearKey === "j" ? 1 : -1)];
        if (to) a.href = to;
        a.hidden = !to;
      }
    }
  } catch { /* storage is off */ }
  let lastPick = null;
  let whole = false; // all that match are chosen, not only the rows that are ticked
  document.addEventListener("click", (e) => {
    const box = e.target;
    if (box.closest("[data-take-all]")) {
      whole = true;
      return picks();
    }
    if (box.closest("[data-unpick]")) {
      for (const b of $$("[data-pick]:checked")) b.checked = false;
      lastPick = null;
      box.dispatchEvent(new Event("change", { bubbles: true }));
    } else if (box.matches("[data-pick-all]")) {
      for (const b of $$("[data-pick]", box.closest("table"))) b.checked = box.checked;
    } else if (box.matches("[data-pick]")) {
      const all = $$("[data-pick]", box.closest("table"));
      const a = all.indexOf(lastPick), b = all.indexOf(box);
      if (e.shiftKey && a >= 0) for (let i = Math.min(a, b); i <= Math.max(a, b); i++) all[i].checked = box.checked;
      lastPick = box;
    } else return;
    whole = false;
    picks();
  });
  // [data-picked] says how many are ticked; [data-when-picked] shows only then. Once all are, [data-take-all] leads to
  // [data-when-all], which stays as it is: it is for the jobs that the reader has in view.
  function picks() {
    for (const table of $$("table:has([data-pick])")) {
      const all = $$("[data-pick]", table), n = all.filter((b) => b.checked).length;
      const head = $("[data-pick-all]", table);
      if (head) { head.checked = n > 0 && n === all.length; head.indeterminate = n > 0 && n < all.length; }
    }
    const boxes = $$("[data-pick]"), n = boxes.filter((b) => b.checked).length, full = n > 0 && n === boxes.length;
    const all = $("[data-when-all]");
    whole &&= full;
    for (const el of $$("[data-picked]")) el.textContent = String(n);
    for (const el of $$("[data-when-picked]")) el.hidden = n === 0 || whole;
    for (const el of $$("[data-take-all]")) {
      el.hidden = !all || !full;
      el.textContent = all?.getAttribute("aria-label") ?? "";
    }
    if (all) {
      all.hidden = !whole;
      all.parentElement.toggleAttribute("hx-morph-skip", full);
    }
  }
  picks();

  // The tab of the page that is shown is in sight, also where the tabs are wider than the screen.
  for (const a of $$(".tabs [aria-current]")) a.parentElement.scrollLeft = a.offsetLeft - (a.parentElement.clientWidth - a.offsetWidth) / 2;

  // ---- What was done is said until it has been read and the page shows something else.
  const flash = $("#flash");
  const facts = () => regions().map((r) => { const c = r.cloneNode(true); for (const t of $$("time", c)) t.remove(); return c.textContent; }).join();
  const said = flash && $$("[role=status]", flash);
  if (said?.length) {
    const before = facts(), end = Date.now() + Math.max(5000, 60 * flash.textContent.length);
    const timer = setInterval(() => {
      if (Date.now() < end || flash.matches(":hover, :focus-within")) return;
      if (facts() === before && Date.now() < end + 10000) return; // the page may have shown it from the start
      // Without a jump of what is pointed at.
      for (const f of said) f.style.visibility = "hidden";
      if ($$("[data-live]").some(reads) || scrollY > 0) return;
      for (const f of said) f.remove();
      clearInterval(timer);
    }, 1000);
  }

  // ---- A filter form acts when a choice is made; its button is for those without JavaScript. A choice that needs other
  // fields presses the button that asks the server for them: [data-press-on] names the field.
  document.addEventListener("change", ({ target: t }) => {
    const b = t.form && $(`[data-press-on="${t.name}"]`, t.form);
    if (b || t.matches("[data-auto-submit] select")) t.form.requestSubmit(b);
  });

  // A form that came back says why at its top or beside a field, but the browser
  // scrolls to where its button was.
  const wrong = $("main .flash[role=alert], main [aria-invalid=true]");
  if (wrong) {
    history.scrollRestoration = "manual";
    wrong.scrollIntoView({ block: "center" });
    if (wrong.matches("[aria-invalid]")) wrong.focus({ preventScroll: true });
  }

  // A form that the server refuses for its size would come back empty: it is not sent, and says so at its longest field.
  document.addEventListener("submit", (e) => {
    const form = e.target, most = Number(form.dataset.max);
    if (!most || String(new URLSearchParams(new FormData(form))).length <= most) return;
    e.preventDefault();
    const longest = $$("input, textarea", form).reduce((a, b) => (b.value.length > a.value.length ? b : a));
    longest.setCustomValidity(`This is too much: a form has at most ${most >> 20} MiB. It was not sent.`);
    longest.reportValidity();
    longest.addEventListener("input", () => longest.setCustomValidity(""), { once: true });
  });

  // A field with a pattern says by its title what fits.
  document.addEventListener("input", ({ target: t }) => { if (t.pattern && t.title) t.setCustomValidity(t.validity.patternMismatch ? t.title : ""); });

  // ---- Keyboard.
  const help = () => { const d = $("#help"); d.open ? d.close() : d.showModal(); };
  let chord = 0;
  document.addEventListener("keydown", (e) => {
    if (e.key === "Escape") {
      const open = menus();
      for (const d of open) { d.open = false; $("summary", d).focus(); }
      if (!open.length && typing(document.activeElement)) document.activeElement.blur();
      return;
    }
    if (e.ctrlKey || e.metaKey || e.altKey || typing(e.target) || $("dialog[open]")) return;
    if (Date.now() - chord < 1200) {
      chord = 0;
      const to = $(`.rail a[data-key="${CSS.escape(e.key)}"]`);
      if (to) { e.preventDefault(); location.href = to.href; }
      return;
    }
    const list = rows();
    const at = list.findIndex((r) => r.contains(document.activeElement));
    const go = (key) => $(`[data-near-key=${key}][href]`)?.click();
    const move = (i) => { const a = opener(list[Math.max(0, Math.min(i, list.length - 1))] ?? document); if (list.length) { a?.focus(); a?.scrollIntoView({ block: "nearest" }); } };
    const keys = {
      "/": () => { const q = $$("#q, #q-drawer").find((i) => i.offsetParent); if (q) { q.focus(); q.select(); } else { $("#drawer").open = true; $("#q-drawer").focus(); } },
      "?": help,
      g: () => { chord = Date.now(); },
      j: () => (near ? go("j") : move(at + 1)),
      k: () => (near ? go("k") : move(at < 0 ? 0 : at - 1)),
      x: () => { if (at >= 0) $("[data-pick]", list[at])?.click(); },
      X: () => { if (at >= 0) $("[data-pick]", list[at])?.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true, shiftKey: true })); },
      n: () => { if (live && collected.size) release(true); },
      p: () => liveSwitch?.click(),
    };
    if (keys[e.key]) { e.preventDefault(); keys[e.key](); }
  });

  // ---- Charts. The server draws them and draws them again; here those of a page get one cursor,
  // which says when. A drag over a chart shows the time that it covers.
  const three = (f) => (f < 99.95 ? f.toFixed(1).replace(/\.0$/, "") : Math.round(f));
  function short(n) {
    if (n < 10000) return Math.round(n).toLocaleString("en-US");
    let i = -1;
    while (n >= 999.5 && i < 3) { n /= 1000; i++; }
    return three(n) + "kMGT"[i];
  }
  const formats = {
    "": short,
    rate: (v) => (v === 0 ? "0" : v < 0.01 ? "<0.01" : v < 0.995 ? +v.toFixed(2) : v < 99.95 ? +v.toFixed(1) : short(v)) + "/s",
    seconds: (v) => (v === 0 ? "0 ms" : v < 0.001 ? "<1 ms" : v < 0.9995 ? Math.round(v * 1000) + " ms" : v < 9.95 ? +v.toFixed(1) + " s" : span(Math.round(v))),
    bytes: (v) => { if (v < 1024) return v + " B"; let i = -1; while (v >= 999.5 && i < 4) { v /= 1024; i++; } return three(v) + " " + ["kB", "MB", "GB", "TB", "PB"][i]; },
  };
  formats.minute = (v) => formats.rate(v).replace("/s", "/min");
  let cursor = null; // Unix seconds
  function point(t) {
    cursor = t;
    for (const fig of $$("[data-chart]")) {
      const { from, step, newest, bars, format } = fig.dataset, { from: left, to: right } = fig.parentElement.dataset;
      const i = t === null ? newest : Math[bars == null ? "round" : "floor"]((t - from) / step), line = $(".cursor", fig);
      for (const li of $$("[data-values]", fig)) {
        const v = li.dataset.values.split(",")[i];
        $("[data-value]", li).textContent = v ? formats[format](+v) : "–";
      }
      const marks = t === null ? [] : $$("[data-mark]").filter((m) => Math.abs(m.dataset.mark - t) < (right - left) / 60);
      $("[data-when]", fig).textContent = t === null ? "" : [timeOfDay((+from + i * step) * 1000), ...marks.map((m) => m.lastElementChild.textContent)].join(" · ");
      for (const x of ["x1", "x2"]) t === null ? line.removeAttribute(x) : line.setAttribute(x, `${((t - left) / (right - left)) * 100}%`);
    }
  }
  // snap returns the time of the point that is nearest, or of the middle of the bar.
  function snap(plot, t) {
    const { from, step, bars } = plot.parentElement.dataset, { from: left, to } = plot.closest("[data-charts]").dataset, i = (t - from) / step;
    return Math.min(to, Math.max(left, +from + (bars == null ? Math.round(i) : Math.floor(i) + 0.5) * step));
  }
  function under(plot, e) {
    const box = $("svg", plot).getBoundingClientRect(), { from, to } = plot.closest("[data-charts]").dataset;
    return Math.round(+from + Math.min(1, Math.max(0, (e.clientX - box.left) / box.width)) * (to - from));
  }
  let drag = null;
  function brush(to) {
    const rect = $(".brush", drag.plot), { from: left, to: right } = drag.plot.closest("[data-charts]").dataset, share = (t) => `${(t / (right - left)) * 100}%`;
    rect.setAttribute("x", share(Math.min(drag.from, to) - left));
    rect.setAttribute("width", share(Math.abs(to - drag.from)));
  }
  const dropped = () => { if (drag) { brush(drag.from); drag = null; } };
  document.addEventListener("pointerdown", (e) => {
    const plot = e.target.closest?.("[data-plot]");
    if (cursor !== null || plot) point(plot ? snap(plot, under(plot, e)) : null);
    if (!plot || e.pointerType !== "mouse" || e.button) return;
    plot.setPointerCapture(e.pointerId);
    drag = { plot, from: under(plot, e), x: e.clientX };
  });
  document.addEventListener("pointermove", (e) => {
    const plot = e.target.closest?.("[data-plot]");
    if (cursor !== null || plot) point(plot ? snap(plot, under(plot, e)) : null);
    if (drag) brush(under(drag.plot, e));
  });
  document.addEventListener("pointercancel", dropped);
  document.addEventListener("pointerup", (e) => {
    if (!drag) return;
    const [from, to] = [drag.from, under(drag.plot, e)].sort((a, b) => a - b), wide = Math.abs(e.clientX - drag.x) > 5;
    dropped();
    if (!wide || to - from < 10) return;
    const url = new URL(location.href), iso = (t) => new Date(t * 1000).toISOString().slice(0, 19) + "Z";
    for (const name of ["range", "cursor"]) url.searchParams.delete(name);
    url.searchParams.set("from", iso(from));
    url.searchParams.set("to", iso(to));
    location.href = url;
  });
  document.addEventListener("keydown", (e) => {
    if (e.key === "Escape") dropped();
    const way = { ArrowLeft: -1, ArrowRight: 1 }[e.key], plot = e.target.closest?.("[data-plot]");
    if (!way || !plot) return;
    e.preventDefault();
    const { from, step, newest } = plot.parentElement.dataset;
    point(snap(plot, (cursor ?? +from + newest * step) + way * step));
    say([$("[data-when]", plot.parentElement).textContent, ...$$(".legend li", plot.parentElement).map((li) => li.textContent)].join(", "));
  });
  document.addEventListener("focusout", (e) => { if (e.target.matches?.("[data-plot]")) point(null); });
  // The server writes the times below a chart in UTC. A round time elsewhere may be at another place.
  function ticks() {
    for (const plot of $$("[data-plot]")) {
      plot.tabIndex = 0;
      const { from, to, tick: step } = plot.closest("[data-charts]").dataset;
      for (const text of $$("[data-tick]", plot)) {
        const t = +text.dataset.tick, off = utc() || step < 3600 ? 0 : new Date(t * 1e3).getTimezoneOffset() * 60, at = t + (((off % step) + +step) % step);
        const time = new Date(at * 1e3).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", ...(step < 60 && { second: "2-digit" }), ...zone() });
        const x = (at - from) / (to - from);
        text.textContent = x > 0.96 ? "" : step >= 86400 || (step >= 3600 && time === "00:00") ? dayOf(at * 1e3) : time;
        if (at !== t) text.setAttribute("x", `${x * 100}%`);
      }
    }
  }
  ticks();
  document.addEventListener("htmx:after:swap", () => { ticks(); if (cursor !== null) point(cursor); });
})();
