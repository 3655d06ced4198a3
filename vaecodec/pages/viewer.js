// Two versions of a picture, one over the other, with a boundary that is dragged or moved with keys.

// A version: {name, src, caption}; all are of one size in pixels.
function viewer(root) {
  const bar = element(root, "div", {class: "bar"});
  const choice = {};
  for (const side of ["left", "right"])
    choice[side] = element(element(bar, "label", {}, `${side} `), "select", {id: side});
  const zoom = element(element(bar, "label", {}, "zoom "), "select", {id: "zoom"});
  for (const [value, text] of [[0, "fit"], [1, "100 %"], [2, "200 %"], [4, "400 %"]]) element(zoom, "option", {value}, text);
  const slider = element(root, "div", {id: "slider"});
  const pane = element(slider, "div", {id: "pane"}), stack = element(pane, "div", {id: "stack"});
  const image = {right: element(stack, "img", {id: "below", alt: ""}), left: element(stack, "img", {id: "above", alt: ""})};
  const handle = element(slider, "div", {id: "handle", role: "slider", tabindex: 0,
    "aria-label": "Boundary between the two", "aria-valuemin": 0, "aria-valuemax": 100});
  const captions = element(root, "div", {class: "captions"});
  const caption = {left: element(captions, "span", {id: "left-caption"}), right: element(captions, "span", {id: "right-caption"})};
  let versions = [], share = 0.5;
  const wish = {};  // what was chosen, there or not

  function boundary(value) {
    share = Math.min(1, Math.max(0, value));
    const seen = pane.scrollLeft + share * pane.clientWidth;
    image.left.style.clipPath = `inset(0 calc(100% - ${seen}px) 0 0)`;
    handle.style.left = `${100 * share}%`;
    handle.setAttribute("aria-valuenow", Math.round(100 * share));
  }
  // Sizes are in pixels of the screen, so that 100 % is one of the picture's to one of the screen's.
  function layout() {
    const {naturalWidth: width, naturalHeight: height} = image.right;
    if (!width) return;
    const fit = zoom.value === "0";
    const whole = Math.min(root.clientWidth / width, Math.max(240, 0.75 * innerHeight) / height, 1 / devicePixelRatio);
    const scale = fit ? whole : zoom.value / devicePixelRatio;
    stack.style.width = `${width * scale}px`;
    stack.style.height = `${height * scale}px`;
    slider.style.width = `${Math.min(root.clientWidth, width * scale)}px`;
    slider.classList.toggle("zoomed", !fit);
    stack.classList.toggle("large", scale * devicePixelRatio >= 1);
    captions.style.width = slider.style.width;
    if (fit) pane.removeAttribute("tabindex"); else pane.tabIndex = 0;
    boundary(share);
  }
  function update() {
    for (const side of ["left", "right"]) {
      const version = versions.find(v => v.name === choice[side].value);
      if (image[side].getAttribute("src") !== version.src) image[side].src = version.src;
      image[side].alt = version.name;
      caption[side].textContent = version.caption;
    }
  }
  // What was chosen stays so where it can; else it is what is given.
  function show(shown, given) {
    versions = shown;
    for (const side of ["left", "right"]) {
      choice[side].replaceChildren();
      options(choice[side], versions.map(v => v.name));
      choice[side].value = versions.some(v => v.name === wish[side]) ? wish[side] : given[side];
    }
    for (const part of [bar, handle]) part.hidden = versions.length < 2;
    update();
  }

  const follow = event => boundary((event.clientX - pane.getBoundingClientRect().left) / pane.clientWidth);
  let drag = null;
  slider.addEventListener("pointerdown", event => {
    const near = Math.abs(event.clientX - handle.getBoundingClientRect().left) < 24;
    if (near || zoom.value === "0") { drag = "boundary"; follow(event); }
    else if (event.pointerType === "mouse") drag = "picture";
    else return;  // fingers scroll by themselves
    slider.setPointerCapture(event.pointerId);
    event.preventDefault();
    handle.focus({preventScroll: true});
  });
  slider.addEventListener("pointermove", event => {
    if (drag === "boundary") follow(event);
    if (drag === "picture") pane.scrollBy(-event.movementX, -event.movementY);
  });
  for (const end of ["pointerup", "pointercancel"]) slider.addEventListener(end, () => { drag = null; });
  handle.addEventListener("keydown", event => {
    const less = share - 0.02, more = share + 0.02;
    const to = {ArrowLeft: less, ArrowDown: less, ArrowRight: more, ArrowUp: more, PageDown: share - 0.2, PageUp: share + 0.2, Home: 0, End: 1}[event.key];
    if (to !== undefined) { boundary(to); event.preventDefault(); }
  });
  pane.addEventListener("scroll", () => boundary(share));
  for (const side of ["left", "right"]) {
    choice[side].addEventListener("change", () => { wish[side] = choice[side].value; update(); });
    image[side].addEventListener("load", layout);
  }
  zoom.addEventListener("change", layout);
  addEventListener("resize", layout);
  boundary(0.5);
  return {show};
}
