"use strict";
// Nothing is kept when the page is left, and nothing is asked of any other host.
const documentation = document.getElementById("documentation");
SwaggerUIBundle({
  url: documentation.dataset.document,
  domNode: documentation,
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  validatorUrl: "none",
});
