// Passkeys: asks the browser for one, then sends its answer with the form. Without this the forms stay out of sight.
"use strict";

(() => {
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0));
  const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const named = (list) => (list ?? []).map((one) => ({ ...one, id: bytes(one.id) }));

  // What the service asks, as the browser takes it, and what the browser answers, as the service takes it. Browsers have
  // functions for both; older ones do not.
  const question = (options) => {
    const asked = { ...options, challenge: bytes(options.challenge), allowCredentials: named(options.allowCredentials), excludeCredentials: named(options.excludeCredentials) };
    if (options.user) asked.user = { ...options.user, id: bytes(options.user.id) };
    return asked;
  };
  const answer = (credential) => {
    const response = {};
    for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (credential.response[name]) response[name] = text(credential.response[name]);
    }
    const transports = credential.response.getTransports?.();
    if (transports) response.transports = transports;
    return { id: credential.id, rawId: credential.id, type: credential.type, authenticatorAttachment: credential.authenticatorAttachment ?? null, clientExtensionResults: {}, response };
  };

  const why = (error) => {
    if (error.name === "InvalidStateError") return "This device has a passkey for this account already.";
    if (error.name === "NotAllowedError") return "The browser gave no passkey: it was told not to, it knows none for this site, or it waited too long.";
    return error.message;
  };
  const ask = async (form) => {
    const adds = form.dataset.passkey === "add";
    const body = adds ? { password: form.password.value, code: form.code?.value || undefined } : undefined;
    const headers = { "Content-Type": "application/json", "X-CSRF-Token": document.body.dataset.csrf };
    const begun = await fetch(form.dataset.options, { method: "POST", headers, body: body && JSON.stringify(body) });
    const told = await begun.json();
    if (!begun.ok) throw new Error(told.detail);
    const publicKey = question(told.options);
    const credential = await (adds ? navigator.credentials.create({ publicKey }) : navigator.credentials.get({ publicKey }));
    form.attempt.value = told.attempt;
    form.credential.value = JSON.stringify(answer(credential));
    // It has done its work, and is not sent twice.
    for (const secret of form.querySelectorAll("[data-passkey-proof]")) secret.value = "";
    form.submit();
  };

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    const can = window.PublicKeyCredential && navigator.credentials && location.origin === form.dataset.origin;
    form.hidden = !can;
    form.classList.toggle("scripted", !can);
    const without = document.querySelector("[data-passkey-without]");
    if (without) {
      without.hidden = can;
      without.classList.toggle("unscripted", can);
    }
    const button = form.querySelector("button");
    const said = form.querySelector("[data-passkey-said]");
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (button.disabled) return;
      const name = button.textContent;
      button.disabled = true;
      button.textContent = "Waiting for the device…";
      said.textContent = "";
      try {
        await ask(form);
      } catch (error) {
        said.textContent = why(error);
      }
      button.disabled = false;
      button.textContent = name;
    });
  }
})();
