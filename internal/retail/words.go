package retail

// A shelf is a family of articles with what their names are made of.
type shelf struct {
	family   string
	vat      string
	low, top int // prices in cents
	names    []string
	kinds    []string
	packs    []string
}

var (
	grams   = []string{"100 g", "125 g", "200 g", "250 g", "400 g", "500 g", "750 g", "1 kg", "2 × 250 g", "lot de 3"}
	litres  = []string{"25 cl", "33 cl", "50 cl", "75 cl", "1 L", "1,5 L", "2 L", "6 × 33 cl", "6 × 1 L", "12 × 25 cl"}
	pieces  = []string{"à l'unité", "lot de 2", "lot de 4", "lot de 6", "x 10", "x 12", "x 20", "x 50", "x 100", "format familial"}
	sizes   = []string{"XS", "S", "M", "L", "XL", "XXL", "36/38", "40/42", "44/46", "taille unique"}
	edible  = []string{"nature", "bio", "à l'ancienne", "allégée", "sans sucres ajoutés", "artisanale", "extra", "de Bretagne", "du Périgord", "pur beurre", "premier prix", "fermière", "Label Rouge", "équitable"}
	utility = []string{"confort", "éco", "classique", "de luxe", "recyclé", "professionnel", "compact", "renforcé", "écru", "bleu océan", "rouge cerise", "vert forêt", "« été »", "« Noël »"}
)

// shelves returns what the shop sells. VAT: R is 5.5 %, I is 10 %, N is 20 %.
func shelves() []shelf {
	return []shelf{
		{"EPICERIE", "R", 89, 899, []string{"Pâte à tartiner", "Confiture d'abricots", "Gelée de groseilles", "Crème de marrons", "Miel d'acacia", "Riz rond", "Pâtes coquillettes", "Lentilles vertes", "Moutarde", "Café moulu", "Thé vert à la menthe", "Farine de blé", "Sucre roux", "Purée de pommes"}, edible, grams},
		{"CREMERIE", "R", 79, 1290, []string{"Crème fraîche épaisse", "Beurre demi-sel", "Yaourt brassé", "Fromage frais", "Comté affiné", "Camembert", "Reblochon", "Œufs de poules élevées en plein air", "Lait ribot", "Crème brûlée"}, edible, grams},
		{"BOULANGERIE", "R", 95, 790, []string{"Brioche tressée", "Pain d'épices", "Galette des rois", "Pain de mie", "Biscottes", "Madeleines", "Crêpes dentelles", "Kouign-amann"}, edible, pieces},
		{"BOISSON", "R", 55, 1090, []string{"Eau minérale", "Jus d'orange pressé", "Jus de pomme", "Limonade", "Sirop de grenadine", "Thé glacé pêche"}, edible, litres},
		{"CAVE", "N", 290, 4990, []string{"Cidre brut", "Côtes-du-Rhône", "Crémant d'Alsace", "Bière ambrée", "Pineau des Charentes", "Muscadet sèvre-et-maine"}, []string{"2021", "2022", "2023", "2024", "bio", "vieilles vignes", "cuvée réservée", "brut", "demi-sec", "rosé"}, litres},
		{"TRAITEUR", "I", 350, 1890, []string{"Quiche lorraine chaude", "Pâté en croûte", "Bœuf bourguignon", "Blanquette à emporter", "Salade niçoise", "Gratin dauphinois", "Crêpe complète"}, edible, []string{"1 part", "2 parts", "4 parts", "6 parts", "la pièce"}},
		{"HYGIENE", "N", 110, 1490, []string{"Savon de Marseille", "Shampooing à l'œillet", "Dentifrice", "Gel douche", "Crème hydratante", "Rasoir", "Brosse à dents"}, utility, pieces},
		{"MAISON", "N", 150, 5990, []string{"Éponge", "Lessive liquide", "Torchon", "Bougie parfumée", "Casserole émaillée", "Théière", "Poêle à crêpes", "Boîte à gâteaux", "Râpe à fromage"}, utility, pieces},
		{"TEXTILE", "N", 490, 8990, []string{"Marinière", "Béret", "Écharpe", "Tablier", "Chaussettes", "Pull côtelé", "Ciré"}, utility, sizes},
		{"PAPETERIE", "N", 60, 2490, []string{"Cahier à carreaux", "Stylo à bille", "Crayon à papier", "Règle graduée", "Agenda", "Enveloppes", "Colle à papier"}, utility, pieces},
	}
}

var (
	surnames = []string{"Lefèvre", "Martin", "Bérenger", "Le Goff", "François", "Müller", "D'Almeida", "Nguyễn", "Castañeda", "Gérard", "Aït-Ali", "Châtelain", "Dupré", "Hervé", "Œconomo", "Lemaître", "Pérès", "Quéméneur", "Rousseau", "Saint-Exupère"}
	forename = []string{"Anaïs", "Benoît", "Chloé", "Éric", "Françoise", "Gaëlle", "Hélène", "Inès", "Jérôme", "Léa", "Loïc", "Maël", "Noémie", "Océane", "Raphaël", "Sébastien", "Thérèse", "Zoé"}
	streets  = []string{"rue de l'Église", "avenue du Général-Leclerc", "impasse des Chênes", "place du Marché", "quai de la Fosse", "chemin des Écoliers", "boulevard Voltaire"}
	towns    = [][2]string{{"29200", "Brest"}, {"35000", "Rennes"}, {"42000", "Saint-Étienne"}, {"44000", "Nantes"}, {"57000", "Metz"}, {"62400", "Béthune"}, {"83000", "Toulon"}, {"97400", "Saint-Denis de la Réunion"}}
	profiles = []string{"VENDEUR", "VENDEUR", "VENDEUR", "RESPONSABLE"}
)
