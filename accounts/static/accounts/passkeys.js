// Passkeys on the login pages: what a form's button asks the browser for goes along with the form.
// `webauthnJSON` is allauth's: it puts the bytes in a browser's passkeys into JSON and back.

const supported = window.PublicKeyCredential && window.isSecureContext
// A passkey belongs to a host name; browsers refuse addresses.
const named = !/^[\d.]+$|^\[/.test(location.hostname)

function optionsOf (form) {
  return JSON.parse(document.getElementById(form.dataset.options).textContent)
}

const ask = {
  async create (form) {
    const options = optionsOf(form)
    // Kept on the device where it can be, so that it also logs in by itself.
    Object.assign(options.publicKey.authenticatorSelection, {
      residentKey: 'preferred', requireResidentKey: false, userVerification: 'preferred'
    })
    return window.webauthnJSON.create(options)
  },
  async confirm (form) {
    return window.webauthnJSON.get(optionsOf(form))
  },
  async login (form) {
    const answer = await fetch(form.action, { headers: { Accept: 'application/json' } })
    if (!answer.ok) throw new Error(`The service answered ${answer.status}.`)
    return window.webauthnJSON.get((await answer.json()).request_options)
  }
}

function tell (form, text) {
  const place = form.querySelector('[role=alert][hidden], [role=alert]')
  place.textContent = text
  place.hidden = false
}

function reason (error) {
  if (error.name === 'NotAllowedError') return 'No passkey was used: you cancelled, or it took too long.'
  if (error.name === 'InvalidStateError') return 'This device has a passkey for you already.'
  return `The passkey did not work: ${error.message}`
}

for (const form of document.querySelectorAll('form[data-passkey]')) {
  const kind = form.dataset.passkey
  if (!supported || !named) {
    const why = named ? 'Passkeys need https, and a browser that knows them.' : 'Passkeys need a host name: open this page under one, on your own machine as localhost.'
    if (kind !== 'login') tell(form, why)
    form.querySelector('button').disabled = true
    continue
  }
  form.hidden = false
  form.addEventListener('submit', async event => {
    event.preventDefault()
    try {
      form.elements.credential.value = JSON.stringify(await ask[kind](form))
      form.submit()
    } catch (error) {
      tell(form, reason(error))
    }
  })
}
