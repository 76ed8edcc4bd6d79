"use strict";
// Draws every map of the page from the data that stands in it. Text goes in through textContent only.
(() => {
  const COLOURS = 10, SHAPES = 5, DOT = 3.4, REACH = 14;

  function numbers(text, Kind) {
    const raw = atob(text), bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    return new Kind(bytes.buffer);
  }

  function element(tag, options = {}, ...children) {
    const made = Object.assign(document.createElement(tag), options);
    made.append(...children);
    return made;
  }

  // The same five shapes, in the same order, as in the picture that the map replaces.
  function trace(pen, shape, x, y, r) {
    pen.beginPath();
    if (shape === 0) pen.arc(x, y, r, 0, 7);
    else if (shape === 1) pen.rect(x - r * .9, y - r * .9, r * 1.8, r * 1.8);
    else {
      const corners = { 2: [[0, -1.15], [1.1, .85], [-1.1, .85]], 3: [[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]], 4: [[0, 1.15], [1.1, -.85], [-1.1, -.85]] };
      corners[shape].forEach(([dx, dy], n) => (n ? pen.lineTo(x + dx * r, y + dy * r) : pen.moveTo(x + dx * r, y + dy * r)));
      pen.closePath();
    }
  }

  const shapeOf = (label) => (label < 0 ? 0 : (label + Math.floor(label / COLOURS)) % SHAPES);
  const variableOf = (label) => (label < 0 ? "--soft" : `--c${label % COLOURS}`);

  function start(figure) {
    const data = JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
    const find = (selector) => figure.querySelector(selector);
    const canvas = find(".map-stage > canvas"), stage = find(".map-stage"), tip = find(".map-tip"), panel = find(".map-panel");
    const bar = find(".map-bar"), spoken = find('[aria-live]'), pen = canvas.getContext("2d");
    const n = data.count, x = numbers(data.x, Uint16Array), y = numbers(data.y, Uint16Array);
    const labels = data.labels ? numbers(data.labels, Int16Array) : new Int16Array(n);
    const known = Boolean(data.labels), k = data.k || 0;
    const near = k ? numbers(data.neighbours, Uint16Array) : null;
    const far = data.distances ? numbers(data.distances, Uint16Array) : null;
    const sheets = (data.sheets || []).map((uri) => Object.assign(new Image(), { src: uri }));
    const present = [...new Set(labels)].sort((a, b) => a - b), hiddenLabels = new Set();
    let view = { scale: 1, left: 0, top: 0 }, fitted = 1, width = 0, height = 0, dense = 1;
    let hovered = -1, selected = -1, colours = {}, dots = {}, queued = false;

    const nameOf = (label) => (label < 0 ? "unlabelled" : data.names[label]);
    const titleOf = (i) => [known ? nameOf(labels[i]) : "", data.ids ? data.ids[i] : `number ${i}`].filter(Boolean).join(" · ");
    const visible = (i) => !hiddenLabels.has(labels[i]);
    const px = (i) => x[i] * view.scale + view.left;
    const py = (i) => view.top - y[i] * view.scale;
    const distance = (i, j) => (far ? (far[i * k + j] / 65535 * data.most).toFixed(3) : "");

    function thumbnail(i, size) {
      const made = element("canvas", { width: size * dense, height: size * dense });
      made.style.width = made.style.height = `${size}px`;
      const sheet = sheets[Math.floor(i / data.side ** 2)], at = i % data.side ** 2;
      const draw = () => {
        const brush = made.getContext("2d");
        brush.imageSmoothingEnabled = data.edge > 32;
        brush.drawImage(sheet, (at % data.side) * data.edge, Math.floor(at / data.side) * data.edge, data.edge, data.edge, 0, 0, made.width, made.height);
      };
      sheet.complete ? draw() : sheet.addEventListener("load", draw);
      return made;
    }

    function readColours() {
      const style = getComputedStyle(document.documentElement);
      colours = Object.fromEntries(["--ink", "--soft", "--halo", "--accent", ...present.map(variableOf)].map((name) => [name, style.getPropertyValue(name).trim()]));
      dots = {};
    }

    // Each class's mark is drawn once and then copied, which keeps 20,000 points fluent.
    function dot(label, radius) {
      const key = `${label}/${radius.toFixed(1)}`;
      if (!dots[key]) {
        const side = Math.ceil(radius * 3.2 * dense), made = element("canvas", { width: side, height: side }), brush = made.getContext("2d");
        brush.scale(dense, dense);
        trace(brush, shapeOf(label), side / dense / 2, side / dense / 2, radius);
        brush.fillStyle = colours[variableOf(label)];
        brush.fill();
        dots[key] = made;
      }
      return dots[key];
    }

    function ring(i, radius, colour) {
      pen.beginPath();
      pen.arc(px(i), py(i), radius, 0, 7);
      pen.lineWidth = 2;
      pen.strokeStyle = colour;
      pen.stroke();
    }

    function draw() {
      queued = false;
      pen.setTransform(dense, 0, 0, dense, 0, 0);
      pen.clearRect(0, 0, width, height);
      const zoom = view.scale / fitted, base = n > 5000 ? DOT * .62 : n > 2500 ? DOT * .8 : DOT;
      const radius = Math.min(base * Math.sqrt(zoom), 8);
      pen.globalAlpha = .85;
      for (let i = 0; i < n; i++) {
        if (!visible(i)) continue;
        const left = px(i), top = py(i);
        if (left < -9 || top < -9 || left > width + 9 || top > height + 9) continue;
        const made = dot(labels[i], radius), half = made.width / dense / 2;
        pen.drawImage(made, left - half, top - half, half * 2, half * 2);
      }
      pen.globalAlpha = 1;
      if (selected >= 0 && k) {
        pen.strokeStyle = colours["--ink"];
        for (let j = 0; j < k; j++) {
          const other = near[selected * k + j];
          pen.lineWidth = 1;
          pen.beginPath();
          pen.moveTo(px(selected), py(selected));
          pen.lineTo(px(other), py(other));
          pen.stroke();
          ring(other, radius + 2, colours["--ink"]);
        }
      }
      if (selected >= 0) ring(selected, radius + 5, colours["--accent"]);
      if (hovered >= 0) ring(hovered, radius + 3, colours["--ink"]);
      if (known && data.names.length <= data.namesUpTo) drawNames();
    }

    const middles = present.filter((label) => label >= 0).map((label) => {
      const own = [];
      for (let i = 0; i < n; i++) if (labels[i] === label) own.push(i);
      const median = (values) => own.map((i) => values[i]).sort((a, b) => a - b)[own.length >> 1];
      return { label, x: median(x), y: median(y) };
    });

    function drawNames() {
      pen.font = "600 14px system-ui, sans-serif";
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      pen.lineJoin = "round";
      for (const middle of middles) {
        if (hiddenLabels.has(middle.label)) continue;
        const left = middle.x * view.scale + view.left, top = view.top - middle.y * view.scale;
        pen.lineWidth = 4;
        pen.strokeStyle = colours["--halo"];
        pen.strokeText(data.names[middle.label], left, top);
        pen.fillStyle = colours["--ink"];
        pen.fillText(data.names[middle.label], left, top);
      }
    }

    function redraw() {
      if (!queued) { queued = true; requestAnimationFrame(draw); }
    }

    function fit() {
      let right = 0, up = 0;
      for (let i = 0; i < n; i++) { right = Math.max(right, x[i]); up = Math.max(up, y[i]); }
      const margin = 26;
      fitted = Math.min((width - 2 * margin) / (right || 1), (height - 2 * margin) / (up || 1));
      view = { scale: fitted, left: (width - right * fitted) / 2, top: (height + up * fitted) / 2 };
      redraw();
    }

    function resize() {
      const box = canvas.getBoundingClientRect(), first = width === 0, kept = view.scale / fitted;
      if (!box.width) return;
      width = box.width; height = box.height; dense = window.devicePixelRatio || 1;
      canvas.width = Math.round(width * dense); canvas.height = Math.round(height * dense);
      dots = {};
      if (first || kept === 1) fit(); else redraw();
    }

    function zoom(factor, atX = width / 2, atY = height / 2) {
      const scale = Math.max(fitted * .5, Math.min(fitted * 200, view.scale * factor)), real = scale / view.scale;
      view = { scale, left: atX - (atX - view.left) * real, top: atY - (atY - view.top) * real };
      redraw();
    }

    function move(dx, dy) { view.left += dx; view.top += dy; redraw(); }

    function closest(atX, atY, reach) {
      let best = -1, least = reach * reach;
      for (let i = 0; i < n; i++) {
        if (!visible(i)) continue;
        const square = (px(i) - atX) ** 2 + (py(i) - atY) ** 2;
        if (square < least) { least = square; best = i; }
      }
      return best;
    }

    function hover(i) {
      if (i === hovered) return;
      hovered = i;
      tip.hidden = i < 0;
      if (i >= 0) {
        tip.replaceChildren(...(sheets.length ? [thumbnail(i, 64)] : []), titleOf(i));
        const left = Math.min(Math.max(4, px(i) + 14), width - tip.offsetWidth - 4);
        const above = py(i) - tip.offsetHeight - 14;
        tip.style.left = `${left}px`;
        tip.style.top = `${above > 0 ? above : py(i) + 14}px`;
      }
      redraw();
    }

    function select(i, speak = true) {
      selected = i;
      hover(-1);
      if (i < 0) {
        panel.replaceChildren(element("p", { textContent: "Click a point, or press an arrow key on the map, to see what lies nearest to it." }));
        redraw();
        return;
      }
      if (px(i) < 0 || py(i) < 0 || px(i) > width || py(i) > height) move(width / 2 - px(i), height / 2 - py(i));
      const parts = [element("h3", { textContent: titleOf(i) })];
      if (sheets.length) parts.push(thumbnail(i, 96));
      let same = 0;
      if (k) {
        const items = [];
        for (let j = 0; j < k; j++) {
          const other = near[i * k + j], agrees = known && labels[other] === labels[i] && labels[i] >= 0;
          same += agrees;
          const sign = known && labels[i] >= 0 && labels[other] >= 0 ? (agrees ? "✓ " : "✗ ") : "";
          const caption = element("b", { textContent: known ? sign + nameOf(labels[other]) : `${j + 1}.` });
          const button = element("button", { type: "button", title: titleOf(other), className: sign ? (agrees ? "same" : "other") : "" }, ...(sheets.length ? [thumbnail(other, 48)] : []), caption, element("small", { textContent: distance(i, j) }));
          button.addEventListener("click", () => select(other));
          items.push(element("li", {}, button));
        }
        const words = far ? "Nearest neighbours, with distance" : "Nearest neighbours";
        parts.push(element("p", { textContent: words }), element("ol", {}, ...items));
      }
      panel.replaceChildren(...parts);
      if (speak) spoken.textContent = titleOf(i) + (k && known ? `: ${same} of ${k} nearest neighbours have its class` : "");
      redraw();
    }

    // The nearest visible point within 45 degrees of the direction.
    function walk(dx, dy) {
      if (selected < 0) return select(closest(width / 2, height / 2, Infinity));
      let best = -1, least = Infinity;
      for (let i = 0; i < n; i++) {
        if (i === selected || !visible(i)) continue;
        const across = px(i) - px(selected), down = py(i) - py(selected);
        const along = across * dx + down * dy, aside = Math.abs(across * dy) + Math.abs(down * dx);
        if (along <= 0 || aside > along) continue;
        const cost = along + aside;
        if (cost < least) { least = cost; best = i; }
      }
      if (best >= 0) select(best);
    }

    function legend() {
      const toggles = !known ? [] : present.map((label) => {
        const mark = element("canvas", { width: 14 * dense, height: 14 * dense });
        mark.style.width = mark.style.height = "14px";
        const button = element("button", { type: "button" }, mark, nameOf(label));
        button.setAttribute("aria-pressed", "true");
        const paint = () => {
          const brush = mark.getContext("2d");
          brush.setTransform(dense, 0, 0, dense, 0, 0);
          brush.clearRect(0, 0, 14, 14);
          trace(brush, shapeOf(label), 7, 7, 5);
          brush.fillStyle = colours[variableOf(label)];
          brush.fill();
          button.setAttribute("aria-pressed", String(!hiddenLabels.has(label)));
        };
        button.addEventListener("click", () => {
          if (!hiddenLabels.delete(label)) hiddenLabels.add(label);
          hover(-1); refresh();
        });
        button.addEventListener("dblclick", () => {
          present.forEach((other) => hiddenLabels.add(other));
          hiddenLabels.delete(label);
          refresh();
        });
        button.title = "Click to hide or show; double-click to show it alone";
        return { button, paint };
      });
      const tool = (text, label, act) => {
        const button = element("button", { type: "button", textContent: text, title: label });
        button.setAttribute("aria-label", label);
        button.addEventListener("click", act);
        return button;
      };
      const tools = element("span", { className: "map-tools" }, tool("+", "Zoom in", () => zoom(1.5)), tool("−", "Zoom out", () => zoom(1 / 1.5)),
        tool("Show all", "Show all points and classes", () => { hiddenLabels.clear(); refresh(); fit(); }));
      bar.replaceChildren(...toggles.map((one) => one.button), tools);
      const refresh = () => { toggles.forEach((one) => one.paint()); redraw(); };
      return refresh;
    }

    function listen() {
      let grabbed = null;
      const at = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
      canvas.addEventListener("pointerdown", (event) => {
        grabbed = { x: event.clientX, y: event.clientY, moved: false };
        canvas.setPointerCapture(event.pointerId);
      });
      canvas.addEventListener("pointermove", (event) => {
        if (!grabbed) return hover(closest(...at(event), REACH));
        const dx = event.clientX - grabbed.x, dy = event.clientY - grabbed.y;
        if (!grabbed.moved && Math.hypot(dx, dy) < 4) return undefined;
        hover(-1);
        grabbed = { x: event.clientX, y: event.clientY, moved: true };
        canvas.classList.add("moving");
        return move(dx, dy);
      });
      const release = (event) => {
        if (grabbed && !grabbed.moved && event.type === "pointerup") select(closest(...at(event), REACH));
        grabbed = null;
        canvas.classList.remove("moving");
      };
      canvas.addEventListener("pointerup", release);
      canvas.addEventListener("pointercancel", release);
      canvas.addEventListener("pointerleave", () => hover(-1));
      // The wheel scrolls the page until the map was clicked, so that nobody gets stuck in it.
      canvas.addEventListener("wheel", (event) => {
        if (document.activeElement !== canvas && !event.ctrlKey) return;
        event.preventDefault();
        hover(-1);
        zoom(Math.exp(-event.deltaY * .0015), ...at(event));
      }, { passive: false });
      canvas.addEventListener("keydown", (event) => {
        const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
        const middle = selected >= 0 ? [px(selected), py(selected)] : [width / 2, height / 2];
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        if (event.key in ways) {
          const [dx, dy] = ways[event.key];
          event.shiftKey ? move(-60 * dx, -60 * dy) : walk(dx, dy);
        } else if (event.key === "+" || event.key === "=") zoom(1.4, ...middle);
        else if (event.key === "-") zoom(1 / 1.4, ...middle);
        else if (event.key === "0") fit();
        else if (event.key === "Escape") select(-1);
        else return;
        event.preventDefault();
      });
    }

    figure.classList.add("live");
    find(".still").hidden = true;
    find(".hint").hidden = false;
    canvas.hidden = false;
    readColours();
    dense = window.devicePixelRatio || 1;
    const refresh = legend();
    refresh();
    listen();
    select(-1);
    new ResizeObserver(resize).observe(stage);
    resize();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); refresh(); });
  }

  document.querySelectorAll("figure.map").forEach((figure) => {
    // A browser that lacks something keeps the picture.
    try { start(figure); } catch (error) { figure.classList.remove("live"); console.error(error); }
  });
})();
