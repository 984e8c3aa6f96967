"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const UNKNOWN = "unknown", NOT_A_CELL = "";
  const ALIVE_MS = 30000, LOOK_MS = 3000, RETRY_MS = 1000, SHOWN_PATIENTS = 500;
  const start = location.pathname;  // "/TOKEN/"
  const tag = Math.random().toString(36).slice(2, 10) + Date.now().toString(36);
  let requests = 0, patients = [], patient = null, view = "list", chosen = null, imageIndex = 0, usedSince = false, signing = false;

  const element = (name, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  const color = (name) => patient.colors[name] || "#55626f";
  const label = (name) => name || "not a cell";
  const notice = (text) => { $("notice").textContent = text; $("notice").hidden = !text; };
  const sayError = (error) => notice(error.message);
  const get = async (path) => {
    const answer = await fetch(start + path, { cache: "no-store" });
    const content = await answer.json().catch(() => ({ error: `The server refused (${answer.status}); open the address that review_serve printed.` }));
    if (!answer.ok) throw new Error(content.error);
    return content;
  };
  const post = (path, content) => fetch(start + path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content),
  });

  // Decisions wait in line and are sent one by one; one is out of the line when the server has it on its disk.
  const queue = [];
  let sending = false;
  const showSaved = (text) => {
    $("saved").textContent = text || (queue.length ? `${queue.length} not saved yet` : "All saved");
    $("saved").classList.toggle("waiting", queue.length > 0);
    document.body.dataset.waiting = queue.length;
  };
  const decide = (message) => {
    queue.push({ ...message, request: `${tag}-${++requests}`, patient: patient.folder });
    showSaved();
    send();
  };
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const isOfCell = (message) => message.action === "name" || message.action === "move";
  // A version is taken when the decision is sent: of several in a row about one cell each rests on the one before.
  const seenBy = (message) => {
    if (message.action === "undo") return patient.version;
    const image = patient.images.find((one) => one.name === message.image);
    if (!isOfCell(message)) return image.version;
    return message.seen;
  };
  const send = async () => {
    if (sending) return;
    sending = true;
    try { await sendAll(); } finally { sending = false; }
  };
  const sendAll = async () => {
    while (queue.length) {
      const message = queue[0];
      if (message.first === undefined) message.first = { ...message, seen: seenBy(message) };
      let answer, content;
      try {
        answer = await post("decide", { ...message.first, first: undefined });
        content = await answer.json();
      } catch {
        showSaved(`${queue.length} not saved: ${answer ? "the server was started again and has another address" : "the server does not answer"}`);
        await pause(RETRY_MS);
        continue;
      }
      if (answer.status === 507) {
        notice(content.error);
        await pause(RETRY_MS);
        continue;
      }
      queue.shift();
      await taken(message, answer.ok, content).catch(() => {});  // where the server is away: the next look at it shows more
      showSaved();
    }
  };
  // What rests on a whole field has to be looked at again; whether there was such a thing in the line.
  const dropFields = () => {
    const kept = queue.filter((other) => isOfCell(other) || other.action === "draw");
    const isLess = kept.length < queue.length;
    queue.splice(0, queue.length, ...kept);
    return isLess;
  };
  const taken = async (message, ok, content) => {
    if (!patient || message.patient !== patient.folder) return;
    if (!ok) {
      notice(`Not saved: ${content.error}${dropFields() ? " The fields after it are not verified either." : ""}`);
      await reload();
      return;
    }
    const known = patient.version;
    if (content.before !== -1 && content.before !== known) {
      // Another window has decided too. What rests on the whole field or on the last decision has to be looked at again.
      if (dropFields()) notice("Not verified: another window has decided something; look at the field again.");
      await reload();
      return;
    }
    const changed = content.images;
    const images = patient.images.map((image) => changed.find((one) => one.name === image.name) || image);
    patient = { ...content, images };
    queue.filter((other) => isOfCell(other) && other.image === message.image && other.cell === message.cell).forEach((other) => {
      const cell = cellOf(other.image, other.cell);
      if (cell) other.seen = cell.version;
    });
    if (message.action === "undo") {
      render();
      return;
    }
    if (message.action === "draw") {
      const image = patient.images.find((one) => one.name === message.image);
      chosen = { image: message.image, cell: Math.min(...image.cells.map((cell) => cell.id)) };
    }
    update(changed);
  };
  const reload = async () => {
    const folder = patient.folder;
    const fresh = await get(`patient/${encodeURIComponent(folder)}`);
    if (patient && patient.folder === folder) { patient = fresh; render(); }
  };
  const cellOf = (image, id) => patient.images.find((one) => one.name === image)?.cells.find((cell) => cell.id === id);
  const pendingOf = (image, id) => queue.findLast((one) => one.action === "name" && one.image === image && one.cell === id);
  const nameOf = (image, cell) => (pendingOf(image, cell.id) || cell).name;
  const pendingMove = (image, id) => queue.findLast((one) => one.action === "move" && one.image === image && one.cell === id);
  const boxOf = (image, cell) => (moving && moving.cell === cell.id && moving.image === image ? moving : pendingMove(image, cell.id) || cell).box;

  // The gallery; the order of its groups is the server's.
  const groupOf = (image, cell) => {
    const name = nameOf(image, cell);
    return name === UNKNOWN ? cell.group_if_unknown : name;
  };
  const classOf = (group) => (patient.names.includes(group) || group === NOT_A_CELL ? group : UNKNOWN);
  const keys = () => patient.names.filter((name) => name !== UNKNOWN).slice(0, 9);
  const classButton = (name, key) => {
    const button = element("button", { type: "button" }, key ? element("kbd", { textContent: key }) : "", ` ${label(name)}`);
    button.style.setProperty("--color", color(name));
    button.dataset.name = name;
    button.addEventListener("click", () => nameChosen(name));
    return element("li", {}, button);
  };
  const showClasses = () => {
    const further = patient.names.filter((name) => name !== UNKNOWN).slice(9);
    $("classes").replaceChildren(...keys().map((name, i) => classButton(name, String(i + 1))), ...further.map((name) => classButton(name, "")),
      classButton(UNKNOWN, "0"), classButton(NOT_A_CELL, "Delete"));
  };

  const cropAddress = (image, cell) => `${start}crop/${encodeURIComponent(patient.folder)}/${encodeURIComponent(image.name)}/${cell.box.join("-")}`;
  const buttonOf = (image, id) => [...document.querySelectorAll(".cell")].find((one) => one.dataset.image === image && Number(one.dataset.cell) === id);
  const sayCell = (button, image, cell) => {
    const name = nameOf(image.name, cell);
    const says = cell.predicted ? `${cell.predicted} ${Math.floor(cell.score * 100 + 1e-4)}\u00a0%` : "drawn";
    button.querySelector(".cap").textContent = says;
    button.setAttribute("aria-label", `${label(name)}, ${says}, ${image.title} cell ${cell.id}`);
    button.classList.toggle("decided", cell.decided || image.verified);
    button.classList.toggle("waiting", Boolean(pendingOf(image.name, cell.id)));
    const picture = button.querySelector("img"), address = cropAddress(image, cell);
    if (picture.getAttribute("src") !== address) picture.src = address;  // its box was moved
  };
  const cellButton = (image, cell) => {
    const picture = element("img", { src: cropAddress(image, cell), alt: "", loading: "lazy", width: 84, height: 84 });
    const button = element("button", { type: "button", className: "cell", tabIndex: -1 }, picture, element("span", { className: "cap" }));
    picture.addEventListener("error", () => button.classList.add("unseen"));
    picture.addEventListener("load", () => button.classList.remove("unseen"));
    button.dataset.image = image.name;
    button.dataset.cell = cell.id;
    sayCell(button, image, cell);
    return button;
  };
  const renderCells = () => {
    const groups = new Map(patient.groups.map((name) => [name, []]));
    for (const image of patient.images) for (const cell of image.cells) groups.get(groupOf(image.name, cell)).push([image, cell]);
    for (const cells of groups.values()) cells.sort(([, a], [, b]) => (a.score ?? 2) - (b.score ?? 2));
    $("groups").replaceChildren(...[...groups].map(([name, cells]) => {
      const list = element("ul", { className: "gallery" }, ...cells.map(([image, cell]) => element("li", {}, cellButton(image, cell))));
      const heading = element("h3", {}, label(name), " ", element("span", { className: "count" }));
      heading.style.setProperty("--color", color(classOf(name)));
      const group = element("section", { className: "group" }, heading, list);
      group.dataset.group = name;
      return group;
    }));
    count();
    choose(chosen && buttonOf(chosen.image, chosen.cell) ? chosen : null, view === "cells");
  };
  const count = () => document.querySelectorAll(".group").forEach((group) => {
    const number = group.querySelectorAll(".cell").length;
    group.querySelector(".count").textContent = number;
    group.hidden = !number;
  });
  const all = () => [...document.querySelectorAll(".cell")];
  const choose = (which, focus = true) => {
    const button = which ? buttonOf(which.image, which.cell) : all().find((one) => !one.classList.contains("decided")) || all()[0];
    document.querySelectorAll('.cell[tabindex="0"]').forEach((one) => { one.tabIndex = -1; });
    if (!button) return;
    chosen = { image: button.dataset.image, cell: Number(button.dataset.cell) };
    button.tabIndex = 0;
    if (focus) { button.focus({ preventScroll: true }); button.scrollIntoView({ block: "nearest" }); }
  };
  const moveBy = (by) => {
    const buttons = all(), at = buttons.findIndex((one) => one.tabIndex === 0);
    const next = buttons[Math.min(Math.max(at + by, 0), buttons.length - 1)];
    if (next) choose({ image: next.dataset.image, cell: Number(next.dataset.cell) });
  };
  const rowLength = () => {
    const now = document.querySelector('.cell[tabindex="0"]');
    if (!now) return 1;
    const cells = [...now.closest("ul").querySelectorAll(".cell")];
    const next = cells.findIndex((other) => other.offsetTop > cells[0].offsetTop);
    return next < 0 ? cells.length : next;
  };

  // Nobody decides about a picture that cannot be shown, or is not there yet.
  const UNSEEN = "This picture cannot be shown, so nothing is decided about it: its file is gone or was replaced, or the server does not answer.";
  const ON_ITS_WAY = "This picture is still on its way, so nothing is decided about it yet.";
  const isUnseenPicture = (picture, isLost) => {
    if (!isLost && picture.complete && picture.naturalWidth) return false;
    if (isLost) picture.src = picture.src;  // once more
    notice(isLost ? UNSEEN : ON_ITS_WAY);
    return true;
  };
  let lostField = "";
  const isFieldUnseen = () => isUnseenPicture($("image"), $("image").getAttribute("src") === lostField);
  const isUnseen = (image, id) => {
    if (view === "field") return isFieldUnseen();  // its crop may never have been asked for
    const button = buttonOf(image, id);
    return Boolean(button) && isUnseenPicture(button.querySelector("img"), button.classList.contains("unseen"));
  };

  // Saying what a cell is.
  const nameCell = (image, id, name) => {
    const cell = cellOf(image, id);
    if (!cell || isUnseen(image, id)) return false;
    notice("");
    decide({ action: "name", image, cell: id, name, seen: cell.version });
    const shown = patient.images.find((one) => one.name === image), button = buttonOf(image, id);
    if (button) {
      const group = groupOf(image, cell);
      const list = [...document.querySelectorAll(".group")].find((one) => one.dataset.group === group).querySelector("ul");
      if (button.closest("ul") !== list) list.append(button.parentElement);
      sayCell(button, shown, cell);
      button.classList.add("decided");
      count();
    }
    if (view === "field") renderBoxes();
    return true;
  };
  const nameChosen = (name) => {
    if (!chosen || view === "list") return;
    const { image, cell } = chosen;
    if (view === "field") {
      nameCell(image, cell, name);
      return;
    }
    const buttons = all(), at = buttons.findIndex((one) => one.tabIndex === 0);
    const after = [...buttons.slice(at + 1), ...buttons.slice(0, at)].find((one) => !one.classList.contains("decided"));
    if (!nameCell(image, cell, name)) return;
    if (after) choose({ image: after.dataset.image, cell: Number(after.dataset.cell) });
    else { choose({ image, cell }); notice("Every cell of this patient is decided. Now look at the fields (f): verify each one, then sign off (s)."); }
  };

  // Moving a box or its sides; what is too little for review_import to count as moved is not sent.
  const LEAST_MOVE = 2, LEAST_SIDE = 3;
  let moving = null;
  const shifted = (box, sides, [dx, dy], one) => {
    const [xmin, ymin, xmax, ymax] = box, within = (value, low, high) => Math.round(Math.min(Math.max(value, low), high));
    if (!sides.includes(true)) {
      const x = within(dx, -xmin, one.width - xmax), y = within(dy, -ymin, one.height - ymax);
      return [xmin + x, ymin + y, xmax + x, ymax + y];
    }
    return [
      sides[0] ? within(xmin + dx, 0, xmax - LEAST_SIDE) : xmin, sides[1] ? within(ymin + dy, 0, ymax - LEAST_SIDE) : ymin,
      sides[2] ? within(xmax + dx, xmin + LEAST_SIDE, one.width) : xmax, sides[3] ? within(ymax + dy, ymin + LEAST_SIDE, one.height) : ymax,
    ];
  };
  const moveCell = (image, id, box) => {
    const cell = cellOf(image, id);
    if (!cell || !box.some((side, i) => Math.abs(side - boxOf(image, cell)[i]) >= LEAST_MOVE)) return;
    notice("");
    const last = queue.at(-1);
    if (queue.length > 1 && last.action === "move" && last.image === image && last.cell === id) last.box = box;  // not sent yet
    else decide({ action: "move", image, cell: id, box, seen: cell.version });
    renderBoxes();
  };
  const chosenCell = () => (chosen && chosen.image === image().name ? cellOf(chosen.image, chosen.cell) : null);
  const step = () => Math.max(LEAST_MOVE, Math.round(image().width / 200));
  const moveChosen = (dx, dy) => {
    const cell = chosenCell();
    if (cell) moveCell(chosen.image, cell.id, shifted(boxOf(chosen.image, cell), [], [dx * step(), dy * step()], image()));
  };
  const resizeChosen = (by) => {
    const cell = chosenCell(), one = image(), far = by * step();
    if (!cell) return;
    const box = shifted(boxOf(one.name, cell), [true, true, false, false], [-far, -far], one);
    moveCell(one.name, cell.id, shifted(box, [false, false, true, true], [far, far], one));
  };

  // The field: an image with its boxes.
  const image = () => patient.images[imageIndex];
  const renderField = () => {
    const one = image();
    $("title").textContent = one.title;
    const state = one.verified ? "verified" : one.to_verify ? "not verified yet" : "not of the sample";
    $("field-state").textContent = `field ${imageIndex + 1} of ${patient.images.length}, ${state}`;
    const address = `${start}field/${encodeURIComponent(patient.folder)}/${encodeURIComponent(one.name)}`;
    if ($("image").getAttribute("src") !== address) $("image").src = address;
    $("image").alt = `Field ${one.title}`;
    $("picture").style.width = `min(100%, calc((100vh - 13rem) * ${one.width / one.height}))`;
    $("picture").classList.toggle("verified", one.verified);
    $("verify").firstChild.textContent = one.verified ? "Remove the mark " : "Verify ";
    $("previous").disabled = imageIndex === 0;
    $("next").disabled = imageIndex === patient.images.length - 1;
    renderBoxes();
  };
  const percent = (part, whole) => `${100 * part / whole}%`;
  const place = (shape, [xmin, ymin, xmax, ymax], one) => Object.assign(shape.style, {
    left: percent(xmin, one.width), top: percent(ymin, one.height), width: percent(xmax - xmin, one.width), height: percent(ymax - ymin, one.height),
  });
  const renderBoxes = () => {
    const one = image(), cells = one.cells.filter((cell) => nameOf(one.name, cell));
    document.querySelectorAll(".box").forEach((box) => box.remove());
    for (const cell of cells) {
      const name = nameOf(one.name, cell);
      const box = element("button", { type: "button", className: "box", tabIndex: -1 }, element("span", { textContent: name }));
      box.dataset.cell = cell.id;
      box.setAttribute("aria-label", `${name}, cell ${cell.id}`);
      place(box, boxOf(one.name, cell), one);
      box.style.setProperty("--color", color(name));
      box.style.setProperty("--letters", patient.letters[name] || "#fff");
      const isChosen = chosen && chosen.image === one.name && chosen.cell === cell.id;
      box.classList.toggle("chosen", Boolean(isChosen));
      box.classList.toggle("waiting", Boolean(pendingOf(one.name, cell.id) || pendingMove(one.name, cell.id)));
      $("picture").append(box);
      if (isChosen && view === "field") { box.tabIndex = 0; box.focus({ preventScroll: true }); }
    }
  };
  const chooseBox = (by) => {
    const one = image(), cells = one.cells.filter((cell) => nameOf(one.name, cell));
    if (!cells.length) return;
    const at = cells.findIndex((cell) => chosen && chosen.image === one.name && cell.id === chosen.cell);
    const next = cells[at < 0 ? (by > 0 ? 0 : cells.length - 1) : (at + by + cells.length) % cells.length];
    chosen = { image: one.name, cell: next.id };
    renderBoxes();
  };
  const showField = (index) => {
    imageIndex = Math.min(Math.max(index, 0), patient.images.length - 1);
    if (!chosen || chosen.image !== image().name) chosen = null;
    show("field");
    $("main").focus({ preventScroll: true });
    renderField();
  };
  const toVerifyNext = () => {
    const after = [...patient.images.slice(imageIndex + 1), ...patient.images.slice(0, imageIndex)];
    const next = after.find((one) => one.to_verify && !one.verified);
    return next ? patient.images.indexOf(next) : -1;
  };
  const verify = () => {
    const one = image(), action = one.verified ? "unverify" : "verify";
    if (isFieldUnseen()) return;
    notice("");
    decide({ action, image: one.name });
    if (action === "unverify") return;
    const next = toVerifyNext();
    if (next >= 0) showField(next);
    else notice("Every field that has to be verified is. Sign off with s.");
  };

  // After an answer: what has changed on the screen.
  const update = (images) => {
    for (const one of images) {
      for (const cell of one.cells) {
        const button = buttonOf(one.name, cell.id);
        if (!button) { renderCells(); break; }
        sayCell(button, one, cell);
      }
    }
    if (view === "field") renderField();
    head();
  };
  const render = () => {
    renderCells();
    if (view === "field") renderField();
    head();
  };
  const head = () => {
    $("where").textContent = patient ? patient.patient_id : "";
    const far = patient && patient.progress;
    let text = patient ? `${far.decided} of ${far.cells} cells decided, ${far.unknown_left} unknown left, ${far.verified} of ${far.images} fields verified` : "";
    if (patient && patient.signed_version !== null) text += patient.signed_version === patient.version ? "; signed off" : "; changed since sign-off";
    if (patient && patient.shown_revision) text += `; not blinded: starts from revision ${patient.shown_revision}, which holds what colleagues decided`;
    $("progress").textContent = text;
    document.title = patient ? `${patient.patient_id} - review` : "Review";
  };
  const show = (which) => {
    view = which;
    for (const name of ["list", "cells", "field"]) $(name).hidden = name !== which;
    $("classes").hidden = which === "list";
    for (const id of ["to-cells", "to-field", "undo", "sign-off"]) $(id).hidden = which === "list";
    document.body.dataset.view = which;
  };

  // Patients.
  const showRows = () => {
    const wanted = $("find").value.trim().toLowerCase();
    const found = patients.filter((one) => one.patient_id.toLowerCase().includes(wanted));
    $("shown").textContent = found.length > SHOWN_PATIENTS ? `the first ${SHOWN_PATIENTS} of ${found.length} are shown` : `${found.length} patients`;
    $("rows").replaceChildren(...found.slice(0, SHOWN_PATIENTS).map((one) => {
      const button = element("button", { type: "button", textContent: one.patient_id });
      button.addEventListener("click", () => openPatient(one.folder).catch(sayError));
      return element("tr", {}, element("td", {}, button), element("td", { textContent: one.state }), element("td", { className: "n", textContent: one.decisions }));
    }));
  };
  const showPatients = async () => {
    if (queue.length) { notice("Wait until everything is saved."); return; }
    patient = chosen = null;
    show("list");
    head();
    patients = (await get("patients")).patients;
    showRows();
    $("rows").querySelector("button")?.focus();
  };
  const note = (action) => post("decide", { action, patient: patient.folder, request: `${tag}-${++requests}`, seen: 0 }).catch(() => {});
  const openPatient = async (folder) => {
    notice("");
    await get(`check/${encodeURIComponent(folder)}`);  // what could not be signed off is said before anybody works on it
    patient = await get(`patient/${encodeURIComponent(folder)}`);
    chosen = null;
    imageIndex = 0;
    note("open");
    showClasses();
    show("cells");
    render();
  };

  // Sign-off.
  const askSignOff = () => {
    if (queue.length) { notice("Wait until everything is saved."); return; }
    const far = patient.progress, left = far.images - far.verified;
    const remarks = [`${far.decided} of ${far.cells} cells are decided, ${far.verified} of ${far.images} fields verified.`];
    if (left) remarks.push(`On fields that are not verified only what you changed counts; ${left} ${left === 1 ? "is" : "are"} left, and the report stays preliminary.`);
    if (far.unknown_left) remarks.push(`${far.unknown_left} unknown cells that may be white are undecided.`);
    $("confirm-text").textContent = remarks.join(" ");
    $("confirm").showModal();
    $("confirm-yes").focus();
  };
  const signOff = async () => {
    $("confirm").close();
    if (signing) return;
    signing = true;
    notice("The review is being imported ...");
    const { folder, patient_id: id, version } = patient;
    let said;
    try {
      const answer = await post("sign_off", { patient: folder, seen: version });
      const content = await answer.json();
      if (!answer.ok) throw new Error(content.error);
      said = content.revision === null ? "Nothing was new: the reviewed results are as before." : `Signed off: revision ${content.revision}, checksum ${content.sha256}`;
    } catch (error) {
      said = `Not signed off: ${error.message}`;
    }
    signing = false;
    const isHere = patient && patient.folder === folder;  // or somebody has left the patient meanwhile
    if (isHere) await reload().catch(() => {});
    else if (view === "list") await showPatients().catch(() => {});
    notice(isHere ? said : `${id}: ${said}`);
  };

  // Keys.
  const undo = () => {
    if (queue.length) { notice("Wait until everything is saved."); return; }
    notice("");
    decide({ action: "undo" });
  };
  const toField = () => (patient.images.length ? showField(chosen ? patient.images.findIndex((one) => one.name === chosen.image) : imageIndex) : notice("No image of this patient was exported."));
  const toCells = () => { show("cells"); renderCells(); };
  const common = { u: undo, s: askSignOff, c: toCells, Escape: () => (view === "field" ? toCells() : showPatients().catch(sayError)) };
  const inCells = {
    ArrowRight: () => moveBy(1), ArrowLeft: () => moveBy(-1), ArrowDown: () => moveBy(rowLength()), ArrowUp: () => moveBy(-rowLength()),
    Home: () => moveBy(-1e9), End: () => moveBy(1e9), f: toField,
  };
  const inField = {
    ArrowRight: () => chooseBox(1), ArrowLeft: () => chooseBox(-1), n: () => showField(imageIndex + 1), p: () => showField(imageIndex - 1), " ": verify,
    "+": () => resizeChosen(1), "-": () => resizeChosen(-1),
  };
  const withShift = { ArrowRight: () => moveChosen(1, 0), ArrowLeft: () => moveChosen(-1, 0), ArrowDown: () => moveChosen(0, 1), ArrowUp: () => moveChosen(0, -1) };
  const MAY_REPEAT = /^(Arrow.*|Page.*|Home|End|Tab|n|p|\+|-)$/;  // a key that is held down moves on and on, but decides once
  const right = () => { const cell = chosen && cellOf(chosen.image, chosen.cell); if (cell) nameChosen(nameOf(chosen.image, cell)); };
  document.addEventListener("keydown", (event) => {
    usedSince = true;
    if (drag || moving || drawing) {  // a key between pressing and releasing the mouse would decide about something else
      event.preventDefault();
      if (event.key === "Escape") cancelPointer();
      return;
    }
    if (event.ctrlKey && event.key === "z" && view !== "list" && !$("confirm").open) { event.preventDefault(); if (!event.repeat) undo(); return; }
    if (event.ctrlKey || event.altKey || event.metaKey || view === "list" || $("confirm").open || signing) return;
    if (event.repeat && !MAY_REPEAT.test(event.key)) { event.preventDefault(); return; }
    const onButton = event.target.closest("button") && !event.target.closest(".cell, .box");
    if (onButton && (event.key === "Enter" || event.key === " ")) return;
    let done = (view === "cells" ? inCells : inField)[event.key] || common[event.key];
    if (view === "field" && event.shiftKey && withShift[event.key]) done = withShift[event.key];
    if (/^[1-9]$/.test(event.key)) { const name = keys()[Number(event.key) - 1]; done = name && (() => nameChosen(name)); }
    if (event.key === "0") done = () => nameChosen(UNKNOWN);
    if (event.key === "Delete" || event.key === "Backspace") done = () => nameChosen(NOT_A_CELL);
    if (event.key === "Enter") done = right;
    if (done) { event.preventDefault(); done(); }
  });
  $("to-list").addEventListener("click", () => showPatients().catch(sayError));
  $("to-cells").addEventListener("click", toCells);
  $("to-field").addEventListener("click", toField);
  $("undo").addEventListener("click", undo);
  $("sign-off").addEventListener("click", askSignOff);
  $("previous").addEventListener("click", () => showField(imageIndex - 1));
  $("next").addEventListener("click", () => showField(imageIndex + 1));
  $("verify").addEventListener("click", verify);
  $("confirm-yes").addEventListener("click", signOff);
  $("confirm-no").addEventListener("click", () => $("confirm").close());
  $("find").addEventListener("input", showRows);
  $("image").addEventListener("error", () => { lostField = $("image").getAttribute("src"); notice(UNSEEN); });
  $("image").addEventListener("load", () => { lostField = ""; });

  // The mouse: a cell dragged to a class; a box drawn on the field.
  let drag = null;
  $("groups").addEventListener("pointerdown", (event) => {
    const button = event.target.closest(".cell");
    if (!button || event.button) return;
    choose({ image: button.dataset.image, cell: Number(button.dataset.cell) });
    drag = { button, x: event.clientX, y: event.clientY, ghost: null, target: null };
    event.preventDefault();
  });
  const targetAt = (x, y) => {
    const under = document.elementFromPoint(x, y);
    return under && (under.closest(".classes button") || under.closest(".group"));
  };
  document.addEventListener("pointermove", (event) => {
    usedSince = true;
    if (drag) {
      if (!drag.ghost && Math.hypot(event.clientX - drag.x, event.clientY - drag.y) < 6) return;
      if (!drag.ghost) { drag.ghost = element("img", { src: drag.button.querySelector("img").src, className: "dragged", alt: "" }); document.body.append(drag.ghost); }
      Object.assign(drag.ghost.style, { left: `${event.clientX - 42}px`, top: `${event.clientY - 42}px` });
      drag.target?.classList.remove("target");
      drag.target = targetAt(event.clientX, event.clientY);
      drag.target?.classList.add("target");
    } else if (moving) moveMoving(event);
    else if (drawing) moveDrawing(event);
  });
  document.addEventListener("pointerup", (event) => {
    if (drag) {
      const { ghost, target, button } = drag;
      drag = null;
      ghost?.remove();
      target?.classList.remove("target");
      if (!ghost || !target) return;
      nameCell(button.dataset.image, Number(button.dataset.cell), classOf(target.dataset.name ?? target.dataset.group));
      choose({ image: button.dataset.image, cell: Number(button.dataset.cell) });
    } else if (moving) endMoving();
    else if (drawing) endDrawing(event);
  });
  const cancelPointer = () => {
    drag?.ghost?.remove();
    drag?.target?.classList.remove("target");
    drawing?.shape.remove();
    drag = drawing = null;
    if (moving) { moving = null; renderBoxes(); }
  };
  document.addEventListener("pointercancel", cancelPointer);
  // The chosen box is dragged, or those of its sides that the pointer is near to; xmin, ymin, xmax, ymax.
  const sidesAt = (box, event) => {
    const frame = box.getBoundingClientRect(), near = (size) => Math.min(8, size / 4);
    return [
      event.clientX - frame.left < near(frame.width), event.clientY - frame.top < near(frame.height),
      frame.right - event.clientX < near(frame.width), frame.bottom - event.clientY < near(frame.height),
    ];
  };
  const cursorAt = ([xmin, ymin, xmax, ymax]) => {
    if ((xmin && ymin) || (xmax && ymax)) return "nwse-resize";
    if ((xmax && ymin) || (xmin && ymax)) return "nesw-resize";
    return xmin || xmax ? "ew-resize" : ymin || ymax ? "ns-resize" : "move";
  };
  $("picture").addEventListener("pointermove", (event) => {
    const box = event.target.closest(".box.chosen");
    if (box && !moving && !drawing) box.style.cursor = cursorAt(sidesAt(box, event));
  });
  const moveMoving = (event) => {
    const frame = $("image").getBoundingClientRect(), one = image(), dx = event.clientX - moving.x, dy = event.clientY - moving.y;
    if (!moving.isFar && Math.hypot(dx, dy) < 4) return;
    moving.isFar = true;
    moving.box = shifted(moving.from, moving.sides, [dx / frame.width * one.width, dy / frame.height * one.height], one);
    const shape = [...document.querySelectorAll(".box")].find((box) => Number(box.dataset.cell) === moving.cell);
    if (shape) place(shape, moving.box, one);
  };
  const endMoving = () => {
    const { image: name, cell, box, isFar } = moving;
    moving = null;
    if (isFar) moveCell(name, cell, box);
    renderBoxes();
  };
  let drawing = null;
  const placeOf = (event) => {
    const frame = $("image").getBoundingClientRect(), one = image();
    const inside = (value, whole) => Math.min(Math.max(Math.round(value * whole), 0), whole);
    return [inside((event.clientX - frame.left) / frame.width, one.width), inside((event.clientY - frame.top) / frame.height, one.height)];
  };
  $("picture").addEventListener("pointerdown", (event) => {
    const box = event.target.closest(".box");
    if (event.button) return;
    event.preventDefault();
    if (isFieldUnseen()) return;
    if (box) {
      const which = { image: image().name, cell: Number(box.dataset.cell) }, cell = cellOf(which.image, which.cell);
      if (cell && box.classList.contains("chosen")) {  // the first click chooses, so that a slip of the hand moves nothing
        const from = boxOf(which.image, cell);
        moving = { ...which, from, box: from, sides: sidesAt(box, event), x: event.clientX, y: event.clientY, isFar: false };
        return;
      }
      chosen = which;
      renderBoxes();
      return;
    }
    drawing = { from: placeOf(event), shape: element("div", { className: "drawn" }) };
    $("picture").append(drawing.shape);
  });
  const drawnBox = (event) => {
    const [x0, y0] = drawing.from, [x1, y1] = placeOf(event);
    return [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
  };
  const moveDrawing = (event) => {
    place(drawing.shape, drawnBox(event), image());
  };
  const endDrawing = (event) => {
    const box = drawnBox(event);
    drawing.shape.remove();
    drawing = null;
    if (box[2] - box[0] < 3 || box[3] - box[1] < 3) return;
    notice("");
    chosen = null;  // until the new cell has come: a key pressed meanwhile must not name the cell before
    renderBoxes();
    decide({ action: "draw", image: image().name, name: UNKNOWN, box });
  };

  // Other windows, signs of work for the times, and leaving with something unsaved.
  setInterval(() => {
    if (patient && usedSince && !document.hidden) { usedSince = false; note("active"); }
  }, ALIVE_MS);
  setInterval(async () => {
    if (!patient || queue.length || document.hidden || drag || moving || drawing || signing) return;
    try {
      const folder = patient.folder, { version } = await get(`version/${encodeURIComponent(folder)}`);
      if (patient && patient.folder === folder && version > patient.version && !queue.length && !sending) {
        await reload();
        notice("Another window of this review has decided something; it is shown now.");
      }
      if ($("saved").textContent.includes("answer")) showSaved();
    } catch {
      showSaved("The server does not answer: nothing you decide now is saved until it does");
    }
  }, LOOK_MS);
  addEventListener("beforeunload", (event) => { if (queue.length) event.preventDefault(); });
  showSaved();
  showPatients().catch(sayError);
})();
