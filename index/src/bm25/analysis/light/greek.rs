//! Greek.

use crate::bm25::analysis::letters::{Letters, Rule, rule};

/// Words whose stems have forms of their own.
const IRREGULAR: &[Rule] = &[
    rule(9, "καθεστωτοσ", "καθεστ"),
    rule(9, "καθεστωτων", "καθεστ"),
    rule(8, "γεγονοτοσ", "γεγον"),
    rule(8, "γεγονοτων", "γεγον"),
    rule(8, "καθεστωτα", "καθεστ"),
    rule(7, "τατογιου", "τατο"),
    rule(7, "τατογιων", "τατο"),
    rule(7, "γεγονοτα", "γεγον"),
    rule(7, "καθεστωσ", "καθεστ"),
    rule(6, "σκαγιου", "σκα"),
    rule(0, "σκαγιων", "σκα"),
    rule(0, "ολογιου", "ολο"),
    rule(0, "ολογιων", "ολο"),
    rule(0, "κρεατοσ", "κρε"),
    rule(0, "κρεατων", "κρε"),
    rule(0, "περατοσ", "περ"),
    rule(0, "περατων", "περ"),
    rule(0, "τερατοσ", "τερ"),
    rule(0, "τερατων", "τερ"),
    rule(6, "τατογια", "τατο"),
    rule(6, "γεγονοσ", "γεγον"),
    rule(5, "φαγιου", "φα"),
    rule(5, "φαγιων", "φα"),
    rule(5, "σογιου", "σο"),
    rule(5, "σογιων", "σο"),
    rule(5, "σκαγια", "σκα"),
    rule(5, "ολογια", "ολο"),
    rule(5, "κρεατα", "κρε"),
    rule(5, "περατα", "περ"),
    rule(5, "τερατα", "τερ"),
    rule(4, "φαγια", "φα"),
    rule(4, "σογια", "σο"),
    rule(4, "φωτοσ", "φω"),
    rule(4, "φωτων", "φω"),
    rule(4, "κρεασ", "κρε"),
    rule(4, "περασ", "περ"),
    rule(4, "τερασ", "τερ"),
    rule(3, "φωτα", "φω"),
    rule(2, "φωσ", "φω"),
];

/// One step of the stemmer: the first ending that fits goes. Where what is left is an exception, `back` comes back.
struct Step {
    ends: &'static [Rule],
    back: &'static str,
    is_exception: fn(&Letters) -> bool,
}

/// Whether it is one of these words.
fn is_any(word: &Letters, words: &str) -> bool {
    words.split(' ').any(|other| word.is(other))
}

/// Whether it ends in one of these.
fn ends_in_any(word: &Letters, ends: &str) -> bool {
    ends.split(' ').any(|end| word.ends(end))
}

fn never(_: &Letters) -> bool {
    false
}

fn vowel(word: &Letters) -> bool {
    word.at_end(0).is_some_and(|letter| "αεηιουω".contains(letter))
}

fn vowel_but_upsilon(word: &Letters) -> bool {
    vowel(word) && word.at_end(0) != Some('υ')
}

const STEPS: &[Step] = &[
    Step {
        ends: &[rule(4, "αδεσ", ""), rule(4, "αδων", "")],
        back: "αδ",
        is_exception: |word| !ends_in_any(word, "οκ μαμ μαν μπαμπ πατερ γιαγι νταντ κυρ θει πεθερ"),
    },
    Step {
        ends: &[rule(4, "εδεσ", ""), rule(4, "εδων", "")],
        back: "εδ",
        is_exception: |word| ends_in_any(word, "οπ ιπ εμπ υπ γηπ δαπ κρασπ μιλ"),
    },
    Step {
        ends: &[rule(5, "ουδεσ", ""), rule(5, "ουδων", "")],
        back: "ουδ",
        is_exception: |word| ends_in_any(word, "αρκ καλιακ πεταλ λιχ πλεξ σκ σ φλ φρ βελ λουλ χν σπ τραγ φε"),
    },
    Step {
        ends: &[rule(3, "εωσ", ""), rule(3, "εων", "")],
        back: "ε",
        is_exception: |word| is_any(word, "θ δ ελ γαλ ν π ιδ παρ"),
    },
    Step {
        ends: &[rule(2, "ια", ""), rule(3, "ιου", ""), rule(3, "ιων", "")],
        back: "ι",
        is_exception: vowel,
    },
    Step {
        ends: &[rule(3, "ικα", ""), rule(3, "ικο", ""), rule(4, "ικου", ""), rule(4, "ικων", "")],
        back: "ικ",
        is_exception: |word| {
            vowel(word)
                || is_any(
                    word,
                    "αλ αδ ενδ αμαν αμμοχαλ ηθ ανηθ αντιδ φυσ βρωμ γερ εξωδ καλπ καλλιν καταδ μουλ μπαν \
                    μπαγιατ μπολ μποσ νιτ ξικ συνομηλ πετσ πιτσ πικαντ πλιατσ ποστελν πρωτοδ σερτ συναδ τσαμ \
                    υποδ φιλον φυλοδ χασ",
                )
        },
    },
    Step {
        ends: &[
            rule(7, "ηθηκαμε", ""),
            rule(6, "ουσαμε", ""),
            rule(5, "αγαμε", ""),
            rule(5, "ησαμε", ""),
            rule(5, "ηκαμε", ""),
        ],
        back: "",
        is_exception: never,
    },
    Step {
        ends: &[rule(3, "αμε", "")],
        back: "αμ",
        is_exception: |word| is_any(word, "αναπ αποθ αποκ αποστ βουβ ξεθ ουλ πεθ πικρ ποτ σιχ χ αγαμε αγ"),
    },
    Step {
        ends: &[
            rule(8, "ιουντανε", ""),
            rule(7, "ιοντανε", ""),
            rule(0, "ουντανε", ""),
            rule(0, "ηθηκανε", ""),
            rule(6, "ιοτανε", ""),
            rule(0, "οντανε", ""),
            rule(0, "ουσανε", ""),
            rule(5, "αγανε", ""),
            rule(0, "ησανε", ""),
            rule(0, "οτανε", ""),
            rule(0, "ηκανε", ""),
        ],
        back: "αγαν",
        is_exception: |word| is_any(word, "τρ τσ"),
    },
    Step {
        ends: &[rule(3, "ανε", "")],
        back: "αν",
        is_exception: |word| {
            vowel_but_upsilon(word)
                || is_any(
                    word,
                    "βετερ βουλκ βραχμ γ δραδουμ θ καλπουζ καστελ κορμορ λαοπλ μωαμεθ μ μουσουλμ ν ουλ π \
                    πελεκ πλ πολισ πορτολ σαρακατσ σουλτ τσαρλατ ορφ τσιγγ τσοπ φωτοστεφ χ ψυχοπλ αγ γαλ γερ \
                    δεκ διπλ αμερικαν ουρ πιθ πουριτ σ ζωντ ικ καστ κοπ λιχ λουθηρ μαιντ μελ σιγ σπ στεγ \
                    τραγ τσαγ φ ερ αδαπ αθιγγ αμηχ ανικ ανοργ απηγ απιθ ατσιγγ βασ βασκ βαθυγαλ βιομηχ \
                    βραχυκ διατ διαφ ενοργ θυσ καπνοβιομηχ καταγαλ κλιβ κοιλαρφ λιβ μεγλοβιομηχ μικροβιομηχ \
                    νταβ ξηροκλιβ ολιγοδαμ ολογαλ πενταρφ περηφ περιτρ πλατ πολυδαπ πολυμηχ στεφ ταβ τετ \
                    υπερηφ υποκοπ χαμηλοδαπ ψηλοταβ",
                )
        },
    },
    Step { ends: &[rule(5, "ησετε", "")], back: "", is_exception: never },
    Step {
        ends: &[rule(3, "ετε", "")],
        back: "ετ",
        is_exception: |word| {
            vowel_but_upsilon(word)
                || is_any(
                    word,
                    "αβαρ βεν εναρ αβρ αδ αθ αν απλ βαρον ντρ σκ κοπ μπορ νιφ παγ παρακαλ σερπ σκελ συρφ τοκ \
                    υ δ εμ θαρρ θ",
                )
                || ends_in_any(
                    word,
                    "οδ αιρ φορ ταθ διαθ σχ ενδ ευρ τιθ υπερθ ραθ ενθ ροθ σθ πυρ αιν συνδ συν συνθ χωρ πον βρ \
                    καθ ευθ εκθ νετ ρον αρκ βαρ βολ ωφελ",
                )
        },
    },
    Step {
        ends: &[
            rule(5, "κρεοντασ", "κρεωντ"),
            rule(5, "κρεωντασ", "κρεωντ"),
            rule(5, "οντασ", ""),
            rule(5, "ωντασ", ""),
        ],
        back: "οντ",
        is_exception: |word| word.is("αρχ"),
    },
    Step { ends: &[rule(6, "ομαστε", "")], back: "ομαστ", is_exception: |word| word.is("ον") },
    Step {
        ends: &[rule(5, "ιεστε", "")],
        back: "ιεστ",
        is_exception: |word| is_any(word, "π απ συμπ ασυμπ ακαταπ αμεταμφ"),
    },
    Step {
        ends: &[rule(4, "εστε", "")],
        back: "εστ",
        is_exception: |word| is_any(word, "αλ αρ εκτελ ζ μ ξ παρακαλ προ νισ"),
    },
    Step {
        ends: &[rule(6, "ηθηκεσ", ""), rule(5, "ηθηκα", ""), rule(5, "ηθηκε", "")],
        back: "",
        is_exception: never,
    },
    Step {
        ends: &[rule(4, "ηκεσ", ""), rule(3, "ηκα", ""), rule(3, "ηκε", "")],
        back: "ηκ",
        is_exception: |word| {
            is_any(word, "διαθ θ παρακαταθ προσθ συνθ") || ends_in_any(word, "σκωλ σκουλ ναρθ σφ οθ πιθ")
        },
    },
    Step {
        ends: &[rule(5, "ουσεσ", ""), rule(4, "ουσα", ""), rule(4, "ουσε", "")],
        back: "ουσ",
        is_exception: |word| {
            vowel(word)
                || is_any(
                    word,
                    "φαρμακ χαδ αγκ αναρρ βρομ εκλιπ λαμπιδ λεχ μ πατ ρ λ μεδ μεσαζ υποτειν αμ αιθ ανηκ \
                    δεσποζ ενδιαφερ δε δευτερευ καθαρευ πλε τσα",
                )
                || ends_in_any(word, "ποδαρ βλεπ πανταχ φρυδ μαντιλ μαλλ κυματ λαχ ληγ φαγ ομ πρωτ")
        },
    },
    Step {
        ends: &[rule(4, "αγεσ", ""), rule(3, "αγα", ""), rule(3, "αγε", "")],
        back: "αγ",
        is_exception: |word| {
            let is = is_any(
                word,
                "αβαστ πολυφ αδηφ παμφ ρ ασπ αφ αμαλ αμαλλι ανυστ απερ ασπαρ αχαρ δερβεν δροσοπ ξεφ νεοπ \
                    νομοτ ολοπ ομοτ προστ προσωποπ συμπ συντ τ υποτ χαρ αειπ αιμοστ ανυπ αποτ αρτιπ διατ εν \
                    επιτ κροκαλοπ σιδηροπ λ ναυ ουλαμ ουρ π τρ μ",
            ) || ends_in_any(word, "οφ πελ χορτ λλ σφ ρπ φρ πρ λοχ σμην");
            is && !is_any(word, "ψοφ ναυλοχ") && !word.ends("κολλ")
        },
    },
    Step {
        ends: &[rule(4, "ησου", ""), rule(3, "ησε", ""), rule(3, "ησα", "")],
        back: "ησ",
        is_exception: |word| is_any(word, "ν χερσον δωδεκαν ερημον μεγαλον επταν"),
    },
    Step {
        ends: &[rule(4, "ηστε", "")],
        back: "ηστ",
        is_exception: |word| is_any(word, "ασβ σβ αχρ χρ απλ αειμν δυσχρ ευχρ κοινοχρ παλιμψ"),
    },
    Step {
        ends: &[rule(6, "ησουνε", ""), rule(6, "ηθουνε", ""), rule(4, "ουνε", "")],
        back: "ουν",
        is_exception: |word| is_any(word, "ν ρ σπι στραβομουτσ κακομουτσ εξων"),
    },
    Step {
        ends: &[rule(6, "ησουμε", ""), rule(6, "ηθουμε", ""), rule(4, "ουμε", "")],
        back: "ουμ",
        is_exception: |word| is_any(word, "παρασουσ φ χ ωριοπλ αζ αλλοσουσ ασουσ"),
    },
    Step {
        ends: &[rule(5, "ματων", "μα"), rule(5, "ματοσ", "μα"), rule(4, "ματα", "μα")],
        back: "",
        is_exception: never,
    },
];

/// Endings of words that no step changed, by how many letters a word has at least.
const OTHERS: &[(usize, &[&str])] = &[
    (10, &["ιοντουσαν"]),
    (9, &["ιομασταν", "ιοσασταν", "ιουμαστε", "οντουσαν"]),
    (
        8,
        &[
            "ιεμαστε",
            "ιεσαστε",
            "ιομουνα",
            "ιοσαστε",
            "ιοσουνα",
            "ιουνται",
            "ιουνταν",
            "ηθηκατε",
            "ομασταν",
            "οσασταν",
            "ουμαστε",
        ],
    ),
    (
        7,
        &[
            "ιομουν",
            "ιονταν",
            "ιοσουν",
            "ηθειτε",
            "ηθηκαν",
            "ομουνα",
            "οσαστε",
            "οσουνα",
            "ουνται",
            "ουνταν",
            "ουσατε",
        ],
    ),
    (
        6,
        &[
            "αγατε",
            "ιεμαι",
            "ιεται",
            "ιεσαι",
            "ιοταν",
            "ιουμα",
            "ηθεισ",
            "ηθουν",
            "ηκατε",
            "ησατε",
            "ησουν",
            "ομουν",
            "ονται",
            "ονταν",
            "οσουν",
            "ουμαι",
            "ουσαν",
        ],
    ),
    (
        5,
        &[
            "αγαν", "αμαι", "ασαι", "αται", "ειτε", "εσαι", "εται", "ηδεσ", "ηδων", "ηθει", "ηκαν", "ησαν",
            "ησει", "ησεσ", "ομαι", "οταν",
        ],
    ),
    (4, &["αει", "εισ", "ηθω", "ησω", "ουν", "ουσ"]),
    (3, &["αν", "ασ", "αω", "ει", "εσ", "ησ", "οι", "οσ", "ου", "υσ", "ων"]),
    (2, &["α", "ε", "η", "ι", "ο", "υ", "ω"]),
];

/// Comparatives and superlatives.
const DEGREES: &[(usize, &[&str])] =
    &[(0, &["εστερ", "εστατ", "οτερ", "οτατ", "υτερ", "υτατ", "ωτερ", "ωτατ"])];

pub(in crate::bm25::analysis) fn greek(word: &mut Letters) {
    if word.len() < 4 {
        return;
    }
    let before = word.len();
    word.apply(IRREGULAR);
    for step in STEPS {
        if word.apply(step.ends) && (step.is_exception)(word) {
            word.0.extend(step.back.chars());
        }
    }
    if word.len() == before {
        word.apply_by_length(OTHERS);
    }
    word.apply_by_length(DEGREES);
}

/// Small letters without marks, and no final sigma.
pub(in crate::bm25::analysis) fn greek_spelling(word: &mut Letters) {
    const FOLDED: &[(&str, char)] =
        &[("ς", 'σ'), ("ά", 'α'), ("έ", 'ε'), ("ή", 'η'), ("ίϊΐ", 'ι'), ("ύϋΰ", 'υ'), ("ό", 'ο'), ("ώ", 'ω')];
    word.fold(FOLDED);
}
