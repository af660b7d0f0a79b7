package retail

// A Table is what a server.toml says of one of the schema's tables.
type Table struct {
	Name, Direction, DossierColumn, Capture, Conflict string
	Exclude                                           []string
	Append                                            bool
}

// Exchange returns the tables of the schema as the demo exchanges them:
// reference data down, customers both ways, till parameters, tickets and the
// journal of technical events up.
func Exchange() []Table {
	down := func(name string) Table {
		return Table{Name: name, Direction: "down", DossierColumn: "dossier"}
	}
	up := func(name string) Table {
		return Table{Name: name, Direction: "up", DossierColumn: "dossier", Append: true}
	}
	vat := down("tva")
	vat.DossierColumn = "" // the nation's rates belong to every dossier
	article := down("article")
	article.Exclude, article.Capture = []string{"prix_achat"}, "columns"
	return []Table{
		vat, article, down("code_barre"), down("tarif"), down("moyen_paiement"),
		down("caisse"), down("utilisateur"), down("utilisateur_caisse"),
		{Name: "client", Direction: "both", DossierColumn: "dossier", Conflict: "newest"},
		{Name: "parametre_caisse", Direction: "both", DossierColumn: "dossier", Conflict: "till"},
		up("ticket"), up("ticket_ligne"), up("reglement"), up("jet"),
	}
}
