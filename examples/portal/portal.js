'use strict';

// A click on the timeline asks for the plan to that instant, or to that snapshot.
for (const figure of document.querySelectorAll('figure.timeline')) {
  const svg = figure.querySelector('svg[data-from]');
  if (!svg) continue;
  svg.addEventListener('click', event => {
    const snapshot = event.target.closest('[data-snapshot]');
    if (snapshot) return ask(figure, 'snapshot', snapshot.dataset.snapshot);
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
    const { from, until, left, right } = svg.dataset;
    const part = (x - left) / (right - left);
    if (part < 0 || part > 1) return;
    const micros = BigInt(from) + BigInt(Math.round(part * Number(BigInt(until) - BigInt(from))));
    const seconds = new Date(Number(micros / 1000n)).toISOString().slice(0, 19);
    ask(figure, 'time', `${seconds}.${String(micros % 1000000n).padStart(6, '0')}Z`);
  });
}

function ask(figure, to, value) {
  location.assign(`${figure.dataset.plan}?${new URLSearchParams({ to, value })}`);
}

// What goes on is looked at every second, until it is over.
for (const live of document.querySelectorAll('[data-live]')) look(live);

async function look(live) {
  if (live.querySelector('[data-over]')) return;
  await new Promise(done => setTimeout(done, 1000));
  try {
    const answer = await fetch(live.dataset.live, { redirect: 'error' });
    if (answer.ok) live.innerHTML = await answer.text();
    if (live.querySelector('[data-over]')) return location.reload();
  } catch {
    // The portal is away for a moment, or the session is over: it is tried again.
  }
  look(live);
}
