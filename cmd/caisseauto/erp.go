package main

import (
	"context"
	"log/slog"

	"caisseauto/exporter"
	"caisseauto/internal/collect"
	"caisseauto/internal/config"
	"caisseauto/internal/database"
	"caisseauto/internal/postgres"
	"caisseauto/internal/sqlite"
)

// An erp is the ERP's database, of whatever kind.
type erp interface {
	// sql returns what install would do; empty when all is in place.
	sql(ctx context.Context) (string, error)
	install(ctx context.Context) error
	source() erpSource
	// collector opens the database to take tills' batches in. Stage is the
	// folder for private files.
	collector(ctx context.Context, stage string) (*collect.Collector, error)
}

// An erpSource is the database as the writer of streams.
type erpSource interface {
	exporter.Source
	Close() error
}

// erpOf returns the database that a configuration names. Nothing is opened.
func (a *app) erpOf(cfg *config.Server) erp {
	if cfg.Database.Driver == config.DriverPostgres {
		return &postgresERP{cfg.Database.DSN, postgres.NewCapture(streamsOf(cfg)), postgres.SourceOptions{Log: a.log()}}
	}
	return &sqliteERP{cfg.Database.DSN, sqlite.NewCapture(streamsOf(cfg)), a.log()}
}

type sqliteERP struct {
	path    string
	capture *sqlite.Capture
	log     *slog.Logger
}

func (e *sqliteERP) sql(ctx context.Context) (string, error) {
	return e.capture.SQL(ctx, e.path, sqlite.SourceOptions{})
}

func (e *sqliteERP) install(ctx context.Context) error {
	return e.capture.Install(ctx, e.path, sqlite.SourceOptions{})
}

func (e *sqliteERP) source() erpSource {
	return sqliteSource{sqlite.NewSource(e.path, e.capture, sqlite.SourceOptions{})}
}

func (e *sqliteERP) collector(_ context.Context, stage string) (*collect.Collector, error) {
	return sqlite.OpenCollector(e.path, e.capture, sqlite.CollectOptions{StageDir: stage, Log: e.log})
}

// A sqliteSource holds nothing open between its calls.
type sqliteSource struct{ *sqlite.Source }

func (sqliteSource) Close() error { return nil }

type postgresERP struct {
	dsn     string
	capture *postgres.Capture
	options postgres.SourceOptions
}

func (e *postgresERP) sql(ctx context.Context) (string, error) {
	return e.capture.SQL(ctx, e.dsn, e.options)
}

func (e *postgresERP) install(ctx context.Context) error {
	return e.capture.Install(ctx, e.dsn, e.options)
}

func (e *postgresERP) source() erpSource { return postgres.NewSource(e.dsn, e.capture, e.options) }

func (e *postgresERP) collector(ctx context.Context, _ string) (*collect.Collector, error) {
	return postgres.OpenCollector(ctx, e.dsn, e.capture, postgres.CollectOptions{Log: e.options.Log})
}

// streamsOf says what the journal of the server's database is to record: the
// tables of all dossiers, since they share one journal.
func streamsOf(cfg *config.Server) map[string]database.SourceConfig {
	streams := map[string]database.SourceConfig{}
	for _, d := range cfg.Dossiers {
		streams[streamDown(d.Code)] = database.SourceConfig{Tables: tablesDown(d), Uploads: tablesUp(d)}
	}
	return streams
}

// tablesDown are the tables of a dossier that travel to the tills.
func tablesDown(d config.Dossier) []database.TableConfig {
	var out []database.TableConfig
	for _, t := range d.Tables {
		if t.Direction == config.DirectionUp {
			continue
		}
		out = append(out, database.TableConfig{
			Name: t.Name, Schema: t.Schema, DossierColumn: t.DossierColumn, Dossier: d.Code,
			Exclude: t.Exclude, Columns: t.Capture == config.CaptureColumns,
			Touches: t.Touches, TouchesColumns: t.TouchesColumns,
		})
	}
	return out
}

// tablesUp are the tables of a dossier that its tills send.
func tablesUp(d config.Dossier) []database.UploadConfig {
	var out []database.UploadConfig
	for _, t := range d.Tables {
		u := database.UploadConfig{
			Name: t.Name, Schema: t.Schema, DossierColumn: t.DossierColumn, Dossier: d.Code, TillColumn: t.TillColumn, NumberColumn: t.NumberColumn,
			Totals: t.Totals, Parent: t.Parent, ParentColumns: t.ParentColumns, Exclude: t.Exclude,
			Conflict: t.Conflict, VersionColumn: t.VersionColumn,
		}
		switch {
		case t.Direction == config.DirectionDown:
			continue
		case t.Direction == config.DirectionBoth:
			u.Mode = "both"
		case t.Append:
			u.Mode = "append"
		default:
			u.Mode = "replace"
		}
		out = append(out, u)
	}
	return out
}
