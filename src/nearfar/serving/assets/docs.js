"use strict";
// Draws the service's OpenAPI description and lets every route be tried. Text goes in through textContent only.
(() => {
  const make = (tag, options = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), options);
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  };
  const main = document.getElementById("main"), key = document.getElementById("key");
  let schemas = {};

  const follow = (schema) => (schema && schema.$ref ? schemas[schema.$ref.split("/").pop()] || {} : schema || {});

  function kind(schema) {
    const real = follow(schema);
    if (real.anyOf) return real.anyOf.map(kind).join(" or ");
    if (real.type === "array") return `list of ${kind(real.items)}`;
    if (real.format === "binary") return "file";
    return real.type || (schema && schema.$ref ? schema.$ref.split("/").pop() : "anything");
  }

  function sample(schema) {
    const real = follow(schema);
    if (real.examples && real.examples.length) return real.examples[0];
    if (real.default !== undefined) return real.default;
    if (real.anyOf) return sample(real.anyOf.find((one) => one.type !== "null") || {});
    if (real.type === "object") return Object.fromEntries(Object.entries(real.properties || {}).filter(([name, value]) => value.default === undefined || value.default !== null || (real.required || []).includes(name)).map(([name, value]) => [name, sample(value)]));
    if (real.type === "array") return [sample(real.items)];
    return { string: "", integer: 1, number: 0.5, boolean: true, null: null }[real.type] ?? null;
  }

  function table(rows) {
    const head = make("tr", {}, ...["name", "type", "needed", "what"].map((text) => make("th", { textContent: text, scope: "col" })));
    const lines = rows.map(([name, type, needed, what]) => make("tr", {}, make("td", {}, make("code", { textContent: name })), make("td", { textContent: type }), make("td", { textContent: needed ? "yes" : "no" }), make("td", { textContent: what })));
    return make("table", {}, make("thead", {}, head), make("tbody", {}, ...lines));
  }

  const detail = (schema) => [schema.description, schema.default !== undefined && schema.default !== null ? `default ${JSON.stringify(schema.default)}` : "", schema.maximum !== undefined ? `at most ${schema.maximum}` : ""].filter(Boolean).join("; ");

  function attempt(path, verb, route) {
    const fields = (route.parameters || []).map((one) => ({ name: one.name, input: make("input", { value: one.schema.default ?? "" }) }));
    const content = route.requestBody ? Object.entries(route.requestBody.content) : [];
    const json = content.find(([type]) => type === "application/json");
    const area = json ? make("textarea", { value: JSON.stringify(sample(json[1].schema), null, 2), spellcheck: false }) : null;
    if (area) area.setAttribute("aria-label", "body as JSON");
    const file = content.length && !json ? make("input", { type: "file", accept: content.map(([type]) => type).join(",") }) : null;
    if (file) file.setAttribute("aria-label", "file");
    const status = make("span", { className: "status" }), said = make("pre", { hidden: true });
    const button = make("button", { type: "button", textContent: "Send" });
    button.addEventListener("click", async () => {
      const query = new URLSearchParams(fields.filter((one) => one.input.value !== "").map((one) => [one.name, one.input.value]));
      const headers = key.value ? { "X-API-Key": key.value } : {};
      if (area) headers["Content-Type"] = "application/json";
      button.disabled = true;
      try {
        const start = performance.now();
        const reply = await fetch(path + (query.size ? `?${query}` : ""), { method: verb.toUpperCase(), headers, body: area ? area.value : file ? file.files[0] : undefined });
        const type = reply.headers.get("content-type") || "", text = type.startsWith("image/") ? `${type}, ${(await reply.blob()).size} bytes` : await reply.text();
        status.textContent = `${reply.status} in ${(performance.now() - start).toFixed(0)} ms`;
        status.classList.toggle("bad", !reply.ok);
        said.textContent = type.includes("json") ? JSON.stringify(JSON.parse(text), null, 2) : text;
      } catch (error) {
        status.textContent = "no answer";
        status.classList.add("bad");
        said.textContent = String(error);
      }
      said.hidden = false;
      button.disabled = false;
    });
    const inputs = fields.map((one) => make("label", {}, one.name, one.input));
    return make("div", {}, make("h3", { textContent: "Try it" }), inputs.length ? make("div", { className: "fields" }, ...inputs) : null, area, file ? make("div", { className: "fields" }, file) : null, make("p", {}, button, status), said);
  }

  function routeOf(path, verb, route) {
    const parts = [];
    if (route.description) parts.push(make("p", { textContent: route.description }));
    if ((route.parameters || []).length) parts.push(make("h3", { textContent: "Parameters" }), table(route.parameters.map((one) => [one.name, kind(one.schema), one.required, detail({ ...one.schema, description: one.description })])));
    for (const [type, body] of Object.entries(route.requestBody ? route.requestBody.content : {})) {
      const schema = follow(body.schema);
      if (schema.properties) parts.push(make("h3", { textContent: `Body (${type})` }), table(Object.entries(schema.properties).map(([name, value]) => [name, kind(value), (schema.required || []).includes(name), detail(value)])));
      else parts.push(make("p", { className: "soft", textContent: `Body: ${type}` }));
    }
    const answers = Object.entries(route.responses).map(([code, one]) => make("tr", {}, make("td", {}, make("code", { textContent: code })), make("td", { textContent: one.description })));
    parts.push(attempt(path, verb, route), make("h3", { textContent: "Answers" }), make("table", {}, make("tbody", {}, ...answers)));
    const summary = make("summary", {}, make("span", { className: `verb ${verb}`, textContent: verb.toUpperCase() }), make("span", { className: "path", textContent: path }), make("span", { className: "what", textContent: route.summary || "" }));
    return make("details", {}, summary, make("div", { className: "inside" }, ...parts));
  }

  async function start() {
    const described = await (await fetch("/openapi.json")).json();
    schemas = (described.components || {}).schemas || {};
    document.getElementById("title").textContent = `${described.info.title} ${described.info.version}`;
    document.getElementById("lead").textContent = described.info.description.replaceAll("`", "");
    document.getElementById("keybox").hidden = !described.security;
    const groups = {};
    for (const [path, verbs] of Object.entries(described.paths))
      for (const [verb, route] of Object.entries(verbs)) (groups[(route.tags || ["other"])[0]] ||= []).push(routeOf(path, verb, route));
    main.replaceChildren(...Object.entries(groups).flatMap(([name, routes]) => [make("h2", { textContent: name }), ...routes]));
  }

  start().catch((error) => main.replaceChildren(make("p", { textContent: `The description cannot be read: ${error}` })));
})();
