package config

import (
	"cmp"
	"strings"
)

// parseTill reads a till.toml. file is its name in messages, abs its absolute
// path.
func parseTill(file, abs string, data []byte) (*Till, error) {
	t := &Till{}
	x, err := decode(file, data, t)
	if role := roleOf(file, data); role == RoleRelease || err != nil && roleIn(data) == RoleServer {
		return nil, otherRole(file, cmp.Or(roleIn(data), role), RoleTill, err)
	}
	if err != nil {
		return nil, err
	}
	c := &checker{file: file, dir: folderOf(abs), idx: x}
	c.common(&t.Common, abs, RoleTill)
	c.path("database.dsn", &t.Database.DSN, "till.db")
	if t.Database.Driver == DriverPostgres {
		c.fail("database.driver", "write sqlite, or leave the key out", "a till keeps its rows in SQLite")
	}
	c.identity(t)
	c.users(t)
	c.schema(&t.Schema)
	c.jet(t.JET)
	c.sync(&t.Sync)
	c.processes(t.Processes, []string{ActionImport, ActionSync, ActionUpdate}, []string{ActionExport, ActionCollect}, "till")
	for i := range t.Processes {
		p := &t.Processes[i]
		if p.Dossier == "" {
			p.Dossier = t.Identity.Dossier
		} else if t.Identity.Dossier != "" && p.Dossier != t.Identity.Dossier {
			c.fail(entry("process", i)+".dossier", "take it out", "%q is not the till's dossier %q", p.Dossier, t.Identity.Dossier)
		}
	}
	c.update(t)
	c.tillPrincipal(t)
	if err := c.result(); err != nil {
		return nil, err
	}
	return t, nil
}

func (c *checker) identity(t *Till) {
	id := &t.Identity
	c.code("till.number", id.Number)
	if id.Dossier != "" || c.given("till.dossier") {
		c.code("till.dossier", id.Dossier)
	}
	c.name("till.default_user", id.DefaultUser, false)
	c.name("till.service_user", id.ServiceUser, false)
	switch {
	case id.Dossier == "" && id.DefaultUser == "":
		c.fail("till.dossier", `write dossier = "CODE", or default_user and [users] for a till that follows its default user's dossier`, "missing: the till does not know which stream to follow")
	case id.Dossier == "" && t.Users == nil:
		c.fail("till.default_user", "write [users] with table and key, or the dossier itself", "there is no [users] to find %q in", id.DefaultUser)
	}
	if id.Registry != nil {
		c.name("till.registry.table", id.Registry.Table, true)
		c.name("till.registry.key", id.Registry.Key, true)
	}
}

func (c *checker) users(t *Till) {
	u := t.Users
	if u == nil {
		return
	}
	c.name("users.table", u.Table, true)
	c.name("users.key", u.Key, true)
	c.name("users.till_column", u.TillColumn, false)
	c.name("users.dossier_column", u.DossierColumn, false)
	const hint = `write either attachment = { table = "…", user = "…", till = "…" } or till_column = "…"`
	switch {
	case u.Attachment != nil && u.TillColumn != "":
		c.fail("users.till_column", hint, "attachment says already which users belong to the till")
	case u.Attachment == nil && u.TillColumn == "":
		c.fail("users", hint, "nothing says which users belong to the till")
	case u.Attachment != nil:
		c.name("users.attachment.table", u.Attachment.Table, true)
		c.name("users.attachment.user", u.Attachment.User, true)
		c.name("users.attachment.till", u.Attachment.Till, true)
	}
}

func (c *checker) schema(s *Schema) {
	c.oneOf("schema.missing_column", &s.MissingColumn, DriftRefuse, DriftRefuse, DriftIgnore)
	c.oneOf("schema.changed_type", &s.ChangedType, DriftRefuse, DriftRefuse, DriftIgnore)
	c.oneOf("schema.not_null", &s.NotNull, DriftRefuse, DriftRefuse, DriftIgnore)
}

// tillPrincipal checks that the till signs as itself, or fills its name in
// where the dossier is known.
func (c *checker) tillPrincipal(t *Till) {
	p, number := t.Signing.Principal, strings.ToLower(t.Identity.Number)
	if p == "" && !c.given("signing.principal") {
		if t.Identity.Dossier != "" {
			t.Signing.Principal = "till-" + number + "@" + strings.ToLower(t.Identity.Dossier)
		}
		return
	}
	m := tillPrincipal.FindStringSubmatch(p)
	switch {
	case m == nil:
		c.fail("signing.principal", `write "till-NUMBER@DOSSIER" in lower case, or leave the key out`, "%q has the wrong form", p)
	case m[1] != number:
		c.fail("signing.principal", `write "till-`+number+`@…", or leave the key out`, "%q is not till %s", p, t.Identity.Number)
	}
}
