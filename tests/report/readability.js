// Returns for every visible text its contrast to the colors behind it (WCAG
// 2.1) and its font size, the texts that extend beyond the edges, the pairs of
// labels of an axis that overlap, and the luminance of the page.

(() => {
  const parse = color => {
    const [r, g, b, a = 1] = color.match(/[\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = ([r, g, b, a], back) =>
    [r, g, b].map((value, i) => a * value + (1 - a) * back[i]);
  const luminance = color => {
    const [r, g, b] = color.map(value => {
      const share = value / 255;
      return share <= 0.04045
        ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = element => {
    const own = parse(getComputedStyle(element).backgroundColor);
    const parent = element.parentElement;
    return own[3] === 1 || !parent
      ? own.slice(0, 3) : over(own, background(parent));
  };
  const texts = [], cut = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const visible = element.checkVisibility() && !element.closest('svg');
    if (!walker.currentNode.data.trim() || !visible) continue;
    const style = getComputedStyle(element);
    const back = background(element);
    const [a, b] = [over(parse(style.color), back), back].map(luminance);
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    texts.push({
      text: walker.currentNode.data.slice(0, 40),
      contrast,
      size: parseFloat(style.fontSize),
    });
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    const {left, right} = range.getBoundingClientRect();
    if ((left < -1 || right > innerWidth + 1) && !element.closest('.scroll')) {
      cut.push(walker.currentNode.data);
    }
  }
  const overlaps = [];
  for (const plot of document.querySelectorAll('.plot')) {
    for (const axis of ['x', 'y']) {
      const boxes = [...plot.querySelectorAll('span.' + axis)].map(span =>
        [span.textContent, span.getBoundingClientRect()]);
      const pairs = boxes.flatMap((one, i) =>
        boxes.slice(i + 1).map(two => [one, two]));
      for (const [[text, one], [other, two]] of pairs) {
        const apart = axis === 'x'
          ? one.right <= two.left || two.right <= one.left
          : one.bottom <= two.top + 1 || two.bottom <= one.top + 1;
        if (!apart) overlaps.push([text, other]);
      }
    }
  }
  const body = getComputedStyle(document.body).backgroundColor;
  return {texts, cut, overlaps, body: luminance(parse(body).slice(0, 3))};
})()
