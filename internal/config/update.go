package config

import (
	"path/filepath"
	"regexp"
	"strings"
)

// Update is which software packages a till installs, and when.
type Update struct {
	Folder         string    `toml:"folder"`           // the program's own: what it remembers, and by default the products; packages by default
	Keep           int       `toml:"keep"`             // releases of each product that stay on disk, the running one included; 3 by default
	BusyQuery      string    `toml:"busy_query"`       // anything but 0, NULL, '' or no row in its first column: a sale is open
	BusyCommand    []string  `toml:"busy_command"`     // ends with 0 when the till is free
	WaitForTickets bool      `toml:"wait_for_tickets"` // nothing is installed while rows wait in the outbox
	Products       []Product `toml:"product"`
}

// A Product is one program that is installed.
type Product struct {
	Name    string   `toml:"name"`    // as packages name it
	Folder  string   `toml:"folder"`  // where its releases are; its name in Update.Folder by default
	Restart []string `toml:"restart"` // run after each switch; may be empty
}

// How many releases stay: with one there would be no way back, and nobody
// goes back a hundred.
const (
	leastKept   = 2
	defaultKept = 3
	mostKept    = 100
)

// productName is what may name a product: it becomes a folder's name on every
// system.
var productName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

func (c *checker) update(t *Till) {
	u := t.Update
	if u == nil {
		c.noUpdate(t.Processes)
		return
	}
	if u.Keep == 0 && !c.given("update.keep") {
		u.Keep = defaultKept
	}
	if u.Keep < leastKept || u.Keep > mostKept {
		c.fail("update.keep", "write a number from 2 to 100; with 1 there would be no way back", "%d releases cannot be kept", u.Keep)
	}
	c.path("update.folder", &u.Folder, "packages")
	c.query("update.busy_query", u.BusyQuery)
	c.command("update.busy_command", u.BusyCommand)
	if len(u.Products) == 0 {
		c.fail("update", `write a table [[update.product]] with name = "…" for each program that is installed`, "there is no product")
	}
	c.apart("update.folder", u.Folder, t)
	seen := map[string]string{}
	for i := range u.Products {
		p, at := &u.Products[i], entry("update.product", i)
		if c.name(at+".name", p.Name, true); p.Name != "" && !productName.MatchString(p.Name) {
			c.fail(at+".name", `write 1 to 64 letters a-z, digits, ".", "_" or "-", a letter or digit first`, "%q has the wrong form", p.Name)
		}
		c.unique(seen, at+".name", p.Name, "product")
		c.path(at+".folder", &p.Folder, filepath.Join(u.Folder, p.Name))
		c.command(at+".restart", p.Restart)
		c.apart(at+".folder", p.Folder, t)
		c.productFolder(at+".folder", u, i)
	}
}

// noUpdate refuses a process that would have nothing to do.
func (c *checker) noUpdate(ps []Process) {
	for i := range ps {
		if ps[i].Action == ActionUpdate {
			c.fail(entry("process", i)+".action", "write [update] with a table [[update.product]] for each program that is installed, or take the process out",
				"there is no [update]: nothing says what this till installs")
		}
	}
}

// apart refuses a folder that is one of those whose files travel, or in one of
// them: what is installed would be shipped, or taken for what came.
func (c *checker) apart(path, folder string, t *Till) {
	for _, other := range []struct{ what, folder string }{
		{"paths.outbox", t.Paths.Outbox}, {"paths.inbox", t.Paths.Inbox}, {"paths.stage", t.Paths.Stage}, {"the drop", t.Drop.Folder},
	} {
		if other.folder != "" && within(other.folder, folder) {
			c.fail(path, "write a folder of its own", "%s is %s, or in it", folder, other.what)
		}
	}
}

// productFolder keeps the folders of products apart from each other and from
// what the program remembers.
func (c *checker) productFolder(path string, u *Update, i int) {
	folder := u.Products[i].Folder
	if within(folder, u.Folder) {
		c.fail(path, "write a folder of its own", "update.folder, where the program keeps what it remembers, is this folder or in it")
	}
	for _, other := range u.Products[:i] {
		if within(other.Folder, folder) || within(folder, other.Folder) {
			c.fail(path, "write a folder of its own for each product", "it is the folder of %s, or one of the two is inside the other", other.Name)
		}
	}
}

// within reports whether p is the folder dir or lies in it, by their names.
func within(dir, p string) bool {
	rel, err := filepath.Rel(dir, p)
	return err == nil && filepath.IsLocal(rel)
}

// query checks a statement for a database that no test can reach from here.
func (c *checker) query(path, text string) {
	switch {
	case text == "" && !c.given(path):
	case strings.TrimSpace(text) == "":
		c.fail(path, "write a SELECT, or leave the key out", "empty")
	case strings.ContainsFunc(text, func(r rune) bool { return isControl(r) && !strings.ContainsRune("\t\r\n", r) }):
		c.fail(path, "write the statement as text", "control characters in a statement")
	}
}

// command checks a program with its arguments, and makes its path absolute: a
// relative one begins at the file's folder as all paths do, a bare name is
// left for PATH.
func (c *checker) command(path string, argv []string) {
	switch {
	case argv == nil:
		return
	case len(argv) == 0 || strings.TrimSpace(argv[0]) == "":
		c.fail(path, `write the program and its arguments, like ["/usr/local/bin/caisse-libre", "--quiet"], or leave the key out`, "no program")
		return
	case strings.ContainsFunc(argv[0], isControl):
		c.fail(path, "write the path of a program", "control characters in a path")
	}
	for i, arg := range argv {
		if strings.ContainsRune(arg, 0) {
			c.fail(path, "take it out", "entry %d holds a zero byte, which no argument can", i+1)
		}
	}
	if strings.ContainsRune(argv[0], '/') || strings.ContainsRune(argv[0], filepath.Separator) {
		argv[0] = resolve(c.dir, argv[0])
	}
}
