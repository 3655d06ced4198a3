const data = JSON.parse($("data").textContent);
document.title = `${data.name} – vaecodec compare`;
$("title").textContent = data.name;
$("about").textContent = `${data.width} x ${data.height} pixels, as a .vae file of quality ${data.versions[0].quality} and, ` +
  `for the others, the best that is no larger. vaecodec ${data.version}.`;
$("notices").textContent = data.notices.join(" ");
versionsTable($("versions"), data.versions);
const versions = [{name: "original", src: data.original, caption: "original"}, ...data.versions.map(asShown)];
viewer($("viewer")).show(versions, {left: "vaecodec", right: versions.some(v => v.name === "AVIF") ? "AVIF" : "original"});
