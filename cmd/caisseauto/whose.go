package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"caisseauto/internal/config"
	"caisseauto/internal/sqlite"
)

// errDossier: till, user and database do not belong to one dossier. Two of
// them never mix in one database, so that an operator must say which it is.
var errDossier = errors.New("the till's dossier is not clear")

// rulesOf is what the configuration wants to hold of a till after every import.
func rulesOf(cfg *config.Till, dossier string) *sqlite.Rules {
	id := &cfg.Identity
	r := &sqlite.Rules{Till: id.Number, Dossier: dossier, DefaultUser: id.DefaultUser, ServiceUser: id.ServiceUser}
	if u := cfg.Users; u != nil {
		r.Users = &sqlite.UserRules{Table: u.Table, Key: u.Key, DossierColumn: u.DossierColumn, TillColumn: u.TillColumn}
		if at := u.Attachment; at != nil {
			r.Users.AttachmentTable, r.Users.AttachmentUser, r.Users.AttachmentTill = at.Table, at.User, at.Till
		}
	}
	if g := id.Registry; g != nil {
		r.Registry = &sqlite.RegistryRules{Table: g.Table, Key: g.Key, DeleteOthers: g.DeleteOthers}
	}
	return r
}

// driftOf is what becomes of a batch that does not fit the till's tables.
func driftOf(cfg *config.Till) sqlite.DriftPolicy {
	s := &cfg.Schema
	return sqlite.DriftPolicy{
		IgnoreMissingColumn: s.MissingColumn == config.DriftIgnore,
		IgnoreChangedType:   s.ChangedType == config.DriftIgnore,
		IgnoreNotNull:       s.NotNull == config.DriftIgnore,
	}
}

// tillConfig loads the configuration of a till, with the dossier that it
// follows.
func (a *app) tillConfig(ctx context.Context) (*config.Till, string, error) {
	cfg, err := a.loadTill()
	if err != nil {
		return nil, "", err
	}
	if _, err := cfg.SQLite(); err != nil {
		return nil, "", err
	}
	dossier, err := a.tillDossier(ctx, cfg)
	if err == nil && cfg.Signing.Principal == "" {
		cfg.Signing.Principal = principalOf(cfg.Identity.Number, dossier)
	}
	return cfg, dossier, err
}

// tillDossier is the dossier whose rows the database holds; before the first
// import the default user's, or the one that an operator gave.
func (a *app) tillDossier(ctx context.Context, cfg *config.Till) (string, error) {
	st, err := sqlite.ReadStanding(ctx, cfg.Database.DSN, rulesOf(cfg, ""))
	if err != nil {
		return "", err
	}
	dossier := cmp.Or(st.Followed, st.User, given(cfg, st))
	if dossier == "" {
		return "", &config.Error{File: cfg.File, Key: "till.dossier",
			Problem: fmt.Sprintf("which dossier the till follows is not known yet: user %s is not in table %s", cfg.Identity.DefaultUser, cfg.Users.Table),
			Hint:    "give it once, for the first import: caisseauto init till --dossier CODE"}
	}
	if a.dossier != "" && a.dossier != dossier {
		return "", &usageError{fmt.Errorf("--dossier %s: this till follows dossier %s", a.dossier, dossier)}
	}
	return dossier, nil
}

// given is the dossier that an operator gave, in the configuration or with
// init till --dossier; "" for none.
func given(cfg *config.Till, st sqlite.Standing) string {
	return cmp.Or(cfg.Identity.Dossier, st.Given)
}

// mayImport refuses to import while configuration, default user and database
// are of different dossiers.
func mayImport(ctx context.Context, cfg *config.Till) error {
	st, err := sqlite.ReadStanding(ctx, cfg.Database.DSN, rulesOf(cfg, ""))
	if err != nil {
		return err
	}
	user, told := cfg.Identity.DefaultUser, given(cfg, st)
	differ := func(a, b string) bool { return a != "" && b != "" && a != b }
	switch {
	case differ(st.User, st.Followed):
		return fmt.Errorf("%w: default user %s belongs to dossier %s, but this database holds dossier %s; nothing was imported; if the till is to move to %s, send what waits (caisseauto sync) and then run: caisseauto init till --move --dossier %s; if not, correct the user's dossier",
			errDossier, user, st.User, st.Followed, st.User, st.User)
	case differ(told, st.Followed):
		return fmt.Errorf("%w: dossier %s was given for this till, but its database holds dossier %s; nothing was imported; if the till is to move to %s, send what waits (caisseauto sync) and then run: caisseauto init till --move --dossier %s; if not, correct dossier in %s",
			errDossier, told, st.Followed, told, told, cfg.File)
	case differ(told, st.User):
		return fmt.Errorf("%w: dossier %s was given for this till, but its default user %s belongs to dossier %s; nothing was imported; correct dossier or default_user in %s, or the user's dossier",
			errDossier, told, user, st.User, cfg.File)
	}
	return nil
}
