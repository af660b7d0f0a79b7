// Package page writes our static pages: one file with everything in it, no
// script, nothing from outside, readable on a telephone and on paper, in the
// light and in the dark.
//
//	body := page.Template(`<h1>{{.}}</h1><p>{{verdict "ok"}} nothing is wrong</p>`)
//	err := page.Write(w, "Report", body, "All is well")
//
// Whatever is put into a template is escaped by html/template, for a till's
// name may be anything. The page forbids by its own Content-Security-Policy
// that anything is loaded, so that it can be sent by mail and opened years
// later.
package page
