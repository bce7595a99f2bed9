// After a test event: looks again until it was tried, and writes the log as the server says it.

const PAUSE = 700, TRIES = 40; // milliseconds; as long as a slow receiver may take

async function look (left) {
  const answer = await fetch(location.href, { headers: { Accept: 'text/html' }, cache: 'no-store' })
  if (!answer.ok) return
  const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html').querySelector('[data-swap="log"]')
  const log = document.querySelector('[data-swap="log"]')
  if (!fresh || !log) return
  const waiting = 'waiting' in fresh.dataset
  if (!waiting) log.replaceWith(fresh)
  else if (left) setTimeout(look, PAUSE, left - 1)
}

setTimeout(look, PAUSE, TRIES)
