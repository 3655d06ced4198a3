const limits = JSON.parse($("data").textContent);
const PAUSE = 250;  // milliseconds that the quality stands still before anything is encoded
const sideBySide = viewer($("viewer"));
let file = null, picture = null, opening = false, running = new AbortController(), timer = 0, url = "";

const count = number => number.toLocaleString("en");
const rounded = number => number.toLocaleString("en", {maximumSignificantDigits: 2});
$("limits").textContent = `at most ${rounded(limits.max_bytes / 2 ** 20)} MiB and ${rounded(limits.max_pixels / 1e6)} megapixels`;
options($("tune"), limits.tunes);
$("quality").value = limits.quality;
$("quality-value").textContent = limits.quality;

// One request; its answer as JSON, or an Error with the server's sentence.
async function ask(path, settings, body, signal) {
  let answer;
  try {
    answer = await fetch(`${path}?${new URLSearchParams(settings)}`, {method: "POST", body, signal});
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Error("The server does not answer: is vaecodec serve still running?");
  }
  const said = await answer.json().catch(() => ({error: `The server failed (${answer.status}); its terminal says why.`}));
  if (said.error) throw new Error(said.error);
  return said;
}

// Begin anew: what still runs of before is given up.
async function anew(work) {
  clearTimeout(timer);
  running.abort();
  const {signal} = running = new AbortController();
  $("error").textContent = "";
  try {
    await work(signal);
  } catch (error) {
    if (!signal.aborted) $("error").textContent = error.message;
  } finally {
    if (!signal.aborted) $("status").textContent = "";
  }
}

function open(files) {
  if (!files.length) return;
  const chosen = files[0];
  opening = true;
  anew(async signal => {
    $("status").textContent = "reading";
    let said;
    try {
      if (chosen.size > limits.max_bytes)
        throw new Error(`the file has ${count(chosen.size)} bytes, the limit is ${count(limits.max_bytes)}`);
      said = await ask("open", {}, chosen, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      opening = false;
      error.message = `${chosen.name}: ${error.message}`;
      if (!file || picture.is_vae) throw error;
      $("error").textContent = error.message;
      return encode(signal);  // go on with the picture that is there
    }
    opening = false;
    [file, picture] = [chosen, said];
    $("work").hidden = false;
    $("name").textContent = file.name;
    $("about").textContent = [`${picture.width} x ${picture.height} pixels, ${count(file.size)} bytes.`, ...picture.notices].join(" ");
    $("quality-and-tune").hidden = picture.is_vae;
    $("versions").replaceChildren();
    if (files.length > 1) $("error").textContent = `One at a time: of ${files.length} files this is the first.`;
    sideBySide.show([original()], {left: "original", right: "original"});
    if (picture.is_vae) offer("data:image/png;base64," + picture.file, file.name.replace(/\.[^.]*$/, "") + ".png");
    else await encode(signal);
  });
}

const original = () => ({name: "original", src: picture.shown, caption: picture.is_vae ? file.name : "original"});

async function encode(signal) {
  $("download").hidden = true;
  const settings = {quality: $("quality").value, tune: $("tune").value};
  $("status").textContent = "encoding";
  const own = await ask("encode", settings, file, signal);
  offer("data:application/octet-stream;base64," + own.file, file.name.replace(/\.[^.]*$/, "") + ".vae");
  const versions = [own.version];
  const show = () => {
    versionsTable($("versions"), versions);
    sideBySide.show([original(), ...versions.map(asShown)], {left: "original", right: "vaecodec"});
  };
  show();
  for (const [name, title] of Object.entries(limits.peers)) {
    $("status").textContent = `${title} of at most ${count(own.version.bytes)} bytes`;
    try {
      versions.push(await ask("peer", {codec: name, size: own.version.bytes}, file, signal));
    } catch (error) {
      if (signal.aborted) throw error;
      $("error").textContent = `${$("error").textContent} ${error.message}.`;
    }
    show();
  }
}

// A data URL as a file to download.
function offer(data, name) {
  const [, type, base64] = data.match(/^data:([^;]*);base64,(.*)$/s);
  const bytes = Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
  URL.revokeObjectURL(url);
  url = URL.createObjectURL(new Blob([bytes], {type}));
  const link = $("download");
  link.href = url;
  link.download = name;
  link.textContent = `Download ${name} (${count(bytes.length)} bytes)`;
  link.hidden = false;
}

function changed() {
  $("quality-value").textContent = $("quality").value;
  if (opening) return;  // what is encoded next reads the new settings
  clearTimeout(timer);
  $("download").hidden = true;
  if (file) timer = setTimeout(() => anew(encode), PAUSE);
}
$("quality").addEventListener("input", changed);
$("tune").addEventListener("change", changed);
$("settings").addEventListener("submit", event => event.preventDefault());
$("file").addEventListener("change", () => { open([...$("file").files]); $("file").value = ""; });
addEventListener("paste", event => open(event.clipboardData.files));
addEventListener("dragover", event => { event.preventDefault(); $("drop").classList.add("over"); });
addEventListener("dragleave", () => $("drop").classList.remove("over"));
addEventListener("drop", event => {
  event.preventDefault();
  $("drop").classList.remove("over");
  open(event.dataTransfer.files);
});
