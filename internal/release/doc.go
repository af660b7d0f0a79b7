// Package release publishes software packages and installs them on tills.
//
// A release manager seals a folder with a [Publisher], in a stream of packages
// that his key signs, another one than the server's. On a till a [Till] installs
// what the stream has for its products, system and processor:
//
//	caisse/current                             leads to the release that runs
//	caisse/releases/3.1.0-r6-b11/…
//	caisse/releases/3.2.0-r7-b12/…             release 7, which batch 12 brought
//	caisse/releases/3.2.0-r7-b12.manifest.json what is signed of it, and its .sig
//
// A package is verified from one open file and written into a fresh folder,
// which is synced and gets its name when it is whole. Then current is switched,
// in one step, what runs is restarted, and the package's own probe must end
// with 0. If it does not, current is switched back, and the package is not
// tried again.
//
// What runs is what current leads to, and nothing else says so. Three small
// files hold the rest: .state.json how far the stream was seen, what was given
// up and the last attempts; trial.json, while it is there, that a release was
// switched to and has not proven itself. So a crash at any step leaves a whole
// release running, and the next run goes on from what it finds.
//
// A till installs nothing unless a head that has not expired names the end of
// the stream. Rules are those of SPEC.md, "Packages".
package release
