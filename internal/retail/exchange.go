package retail

// A Table is what a server.toml says of one of the schema's tables.
type Table struct {
	Name, Direction, DossierColumn, Capture, Conflict string
	Exclude                                           []string
	Append                                            bool
	Touches                                           string // an attachment its user

	// Of tables that tills send.
	TillColumn, NumberColumn, Parent, VersionColumn string
	Totals, ParentColumns                           []string
}

// Exchange returns the tables of the schema as the demo exchanges them:
// reference data down, customers and till parameters both ways, tickets and
// the journal of technical events up.
func Exchange() []Table {
	down := func(name string) Table {
		return Table{Name: name, Direction: "down", DossierColumn: "dossier"}
	}
	up := func(name string, totals ...string) Table {
		return Table{Name: name, Direction: "up", DossierColumn: "dossier", Append: true, TillColumn: "caisse", Totals: totals}
	}
	part := func(name string, totals ...string) Table {
		t := up(name, totals...)
		t.Parent, t.ParentColumns = "ticket", []string{"dossier", "caisse", "ticket"}
		return t
	}
	vat := down("tva")
	vat.DossierColumn = "" // the nation's rates belong to every dossier
	article := down("article")
	article.Exclude, article.Capture = []string{"prix_achat"}, "columns"
	attachment := down("utilisateur_caisse")
	attachment.Touches = "utilisateur"
	ticket, jet := up("ticket", "total_ht", "total_tva", "total_ttc"), up("jet")
	ticket.NumberColumn, jet.NumberColumn = "numero", "numero"
	return []Table{
		vat, article, down("code_barre"), down("tarif"), down("moyen_paiement"),
		down("caisse"), down("utilisateur"), attachment,
		{Name: "client", Direction: "both", DossierColumn: "dossier", Conflict: "newest", VersionColumn: "modifie_le"},
		{Name: "parametre_caisse", Direction: "both", DossierColumn: "dossier", Conflict: "till", TillColumn: "caisse"},
		ticket, part("ticket_ligne", "montant"), part("reglement", "montant"), jet,
	}
}
