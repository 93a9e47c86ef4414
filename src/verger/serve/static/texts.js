// The dictionary: all texts of the page, in English and French.

const STORAGE_NAME = "verger-language";

const TEXTS = {
  en: {
    title: "Verger",
    skip: "Skip to the content",
    "other-language": "Français",
    "language-switch": "Switch to French",
    home: "Verger, to the start",
    "dock-label": "Photos",
    "take-photo": "Take a photo",
    gallery: "Gallery",
    "choose-photos": "Choose photos",
    history: "History",
    install: "Install",
    "start-title": "What fruit is this?",
    "start-text": "Take a photo. Verger names the fruit, and shows where it comes from, when it is ripe and how to keep it.",
    "start-privacy": "Your photos stay yours: place and time are removed on your phone, and nothing is kept unless you agree.",
    "start-drop": "Or drop up to five photos of one fruit here.",
    recent: "Your latest finds",
    "see-all": "See all",
    "queue.one": "{n} photo is waiting for the network",
    "queue.other": "{n} photos are waiting for the network",
    "queue-text": "They are safe on this phone, and are sent as soon as the network is back.",
    "queue-sending": "Sending…",
    "queue-busy": "The service is busy. They are sent in a moment.",
    offline: "No network. You can take photos; they are sent later.",
    looking: "Looking closely…",
    "looking-text": "Verger compares your photo with the fruits of its orchard.",
    "waiting-title": "Saved for later",
    "waiting-text": "There is no network. Your photo is safe on this phone. It is sent as soon as the network is back, and the answer appears here and in your history.",
    "busy-title": "One moment, please",
    "busy-text": "Many people are asking at the same time. Verger tries again in",
    "busy-spoken": "Many people are asking at the same time. Verger tries again in {seconds} seconds.",
    seconds: "{n} s",
    cancel: "Cancel",
    close: "Close",
    "failed-title": "That did not work",
    "try-again": "Try again",
    "another-photo": "Take another photo",
    "photo-number": "Photo {n}: ",
    "reason-empty": "The file is empty. Please choose another photo.",
    "reason-not-an-image": "This file is not a photo. Please choose a photo.",
    "reason-too-many-pixels": "The photo has too many pixels. Please choose a smaller one.",
    "reason-truncated": "Part of the photo is missing. It may not have been saved completely; please take it again.",
    "reason-corrupt": "The photo is damaged and cannot be read. Please take it again.",
    "reason-unsupported": "Verger cannot read this kind of image. Please choose a JPEG, PNG, WebP or HEIC photo.",
    "reason-poison": "This file makes the decoder fail, so Verger does not open it. Please choose another photo.",
    "reason-timeout": "Reading this photo takes too long. Please choose a smaller one.",
    "reason-invalid-request": "The service did not understand the request. Please reload this page.",
    "status-413": "The photo is too large. Please choose one of less than 20 MB.",
    "status-415": "Verger cannot read this kind of file. Please choose a photo.",
    "status-other": "The service has a problem (error {status}). Please try again later.",
    "too-many": "Verger looks at up to five photos of one fruit; the first five were taken.",
    "photo-alt": "Your photo",
    "photo-alt-n": "Your photo {n} of {total}",
    "add-photo": "Add a photo of this fruit",
    "lead-sure": "This is {article}",
    "lead-unsure": "Perhaps one of these",
    "unsure-text": "The photo does not decide it. Another one, closer and in daylight, often does.",
    "lead-not": "We see no fruit in this photo",
    "not-text": "Go closer, so that the fruit fills the photo, and avoid deep shade.",
    probability: "{percent} sure",
    "probability-label": "Probability",
    variety: "Probably the variety {name}",
    "others-title": "Could also be",
    "if-fruit": "If it is a fruit after all",
    "show-facts": "About {name}",
    "right-question": "Is this right?",
    "which-question": "Do you know what it is?",
    "fruit-question": "Is there a fruit in the photo?",
    right: "Yes, right",
    "first-right": "The first is right",
    "right-no-fruit": "No, no fruit",
    wrong: "Not right",
    choose: "Name it",
    "thanks-right": "Thank you! Your photo helps Verger to learn.",
    "thanks-wrong": "Thank you! Verger learns from “{name}”.",
    "thanks-unknown": "Thank you! Verger learns that its answer was wrong.",
    "thanks-later": "Your answer is sent when the network is back.",
    "feedback-refused": "The service did not accept this feedback.",
    change: "Change",
    "photos-gone": "The photos of this find are no longer on this phone.",
    "consent-title": "Keep this photo to improve Verger?",
    "consent-text": "Verger learns from photos with the right name. It is stored without place and time; you can delete it at any time in your history.",
    "consent-yes": "Keep it",
    "consent-no": "Do not keep it",
    "consent-refused": "Nothing was sent or kept.",
    "choose-title": "What is it?",
    "search-label": "Search by name or variety",
    "search-placeholder": "Apple, Conference, Malus…",
    "choices-label": "Fruits",
    "results.one": "{n} fruit found",
    "results.other": "{n} fruits found",
    "results-none": "No fruit has this name. You can choose “I do not know” and write it below.",
    "search-offline": "The list of fruits needs the network. You can write the name below.",
    "not-known": "I do not know",
    "comment-label": "Remark (optional)",
    send: "Send",
    facts: "About the fruit",
    "facts-missing": "Verger has no facts about this fruit yet.",
    "facts-offline": "The facts need the network. They appear when you open this answer again.",
    season: "Season in Europe",
    "in-season": "In season now",
    "all-year": "All year round",
    "no-season": "Not grown for harvest in Europe",
    "from-to": "{from} to {to}",
    "month-yes": "in season",
    "month-no": "not in season",
    nutrition: "Nutrition",
    "nutrition-caption": "100 g of the edible part, raw",
    nutrient: "Nutrient",
    amount: "Amount",
    energy_kcal: "Energy",
    carbohydrate_g: "Carbohydrate",
    sugars_g: "of which sugars",
    fibre_g: "Fibre",
    protein_g: "Protein",
    fat_g: "Fat",
    vitamin_c_mg: "Vitamin C",
    potassium_mg: "Potassium",
    origin: "Origin",
    storage: "How to keep it",
    varieties: "Varieties to look for",
    conservation: "Diversity at risk",
    sources: "Sources",
    family: "Family {name}",
    "history-title": "History",
    "history-text": "What you have found, on this phone only.",
    "history-empty": "Nothing here yet. Your first find is one photo away.",
    "state-waiting": "Waits for the network",
    "state-failed": "Could not be read",
    "state-kept": "Kept by Verger",
    "no-fruit": "No fruit",
    "perhaps": "{name}?",
    "delete-one": "Delete",
    "delete-one-label": "Delete {name}, {date}",
    "delete-all": "Delete all",
    "delete-one-title": "Delete this find?",
    "delete-one-text": "The photo and its answer are deleted on this phone, and at Verger if you allowed to keep it.",
    "delete-all-title": "Delete all finds?",
    "delete-all-text": "All photos and answers are deleted on this phone, and the photos you allowed to keep are deleted at Verger.",
    "keep-it": "Keep",
    deleted: "Deleted.",
    back: "Back",
    "details-title": "About this answer",
    "details": "Model {model}, classifier {classifier}, facts of {facts}.",
  },
  fr: {
    title: "Verger",
    skip: "Aller au contenu",
    "other-language": "English",
    "language-switch": "Passer à l’anglais",
    home: "Verger, vers l’accueil",
    "dock-label": "Photos",
    "take-photo": "Prendre une photo",
    gallery: "Galerie",
    "choose-photos": "Choisir des photos",
    history: "Historique",
    install: "Installer",
    "start-title": "Quel est ce fruit ?",
    "start-text": "Prenez une photo. Verger nomme le fruit et montre d’où il vient, quand il est mûr et comment le conserver.",
    "start-privacy": "Vos photos restent à vous : le lieu et l’heure sont effacés sur votre téléphone, et rien n’est gardé sans votre accord.",
    "start-drop": "Ou déposez ici jusqu’à cinq photos d’un même fruit.",
    recent: "Vos dernières trouvailles",
    "see-all": "Tout voir",
    "queue.one": "{n} photo attend le réseau",
    "queue.other": "{n} photos attendent le réseau",
    "queue-text": "Elles sont en sécurité sur ce téléphone et partent dès que le réseau revient.",
    "queue-sending": "Envoi…",
    "queue-busy": "Le service est très demandé. Elles partent dans un instant.",
    offline: "Pas de réseau. Vous pouvez prendre des photos ; elles partiront plus tard.",
    looking: "Verger regarde de près…",
    "looking-text": "Verger compare votre photo avec les fruits de son verger.",
    "waiting-title": "Gardée pour plus tard",
    "waiting-text": "Il n’y a pas de réseau. Votre photo est en sécurité sur ce téléphone. Elle part dès que le réseau revient, et la réponse apparaît ici et dans l’historique.",
    "busy-title": "Un instant, s’il vous plaît",
    "busy-text": "Beaucoup de personnes posent une question en même temps. Verger essaie à nouveau dans",
    "busy-spoken": "Beaucoup de personnes posent une question en même temps. Verger essaie à nouveau dans {seconds} secondes.",
    seconds: "{n} s",
    cancel: "Annuler",
    close: "Fermer",
    "failed-title": "Cela n’a pas marché",
    "try-again": "Réessayer",
    "another-photo": "Prendre une autre photo",
    "photo-number": "Photo {n} : ",
    "reason-empty": "Le fichier est vide. Choisissez une autre photo.",
    "reason-not-an-image": "Ce fichier n’est pas une photo. Choisissez une photo.",
    "reason-too-many-pixels": "La photo a trop de pixels. Choisissez-en une plus petite.",
    "reason-truncated": "Il manque une partie de la photo. Elle n’a peut-être pas été enregistrée en entier ; reprenez-la.",
    "reason-corrupt": "La photo est abîmée et illisible. Reprenez-la.",
    "reason-unsupported": "Verger ne sait pas lire ce type d’image. Choisissez une photo JPEG, PNG, WebP ou HEIC.",
    "reason-poison": "Ce fichier fait échouer le décodeur : Verger ne l’ouvre pas. Choisissez une autre photo.",
    "reason-timeout": "La lecture de cette photo est trop longue. Choisissez-en une plus petite.",
    "reason-invalid-request": "Le service n’a pas compris la demande. Rechargez cette page.",
    "status-413": "La photo est trop lourde. Choisissez-en une de moins de 20 Mo.",
    "status-415": "Verger ne sait pas lire ce type de fichier. Choisissez une photo.",
    "status-other": "Le service a un problème (erreur {status}). Réessayez plus tard.",
    "too-many": "Verger regarde jusqu’à cinq photos d’un fruit ; les cinq premières ont été prises.",
    "photo-alt": "Votre photo",
    "photo-alt-n": "Votre photo {n} sur {total}",
    "add-photo": "Ajouter une photo de ce fruit",
    "lead-sure": "C’est {article}",
    "lead-unsure": "Peut-être l’un de ceux-ci",
    "unsure-text": "La photo ne suffit pas. Une autre, plus proche et à la lumière du jour, suffit souvent.",
    "lead-not": "Nous ne voyons pas de fruit sur cette photo",
    "not-text": "Approchez-vous pour que le fruit remplisse la photo, et évitez l’ombre épaisse.",
    probability: "sûr à {percent}",
    "probability-label": "Probabilité",
    variety: "Sans doute la variété {name}",
    "others-title": "Ou peut-être",
    "if-fruit": "Si c’est un fruit malgré tout",
    "show-facts": "En savoir plus : {name}",
    "right-question": "Est-ce juste ?",
    "which-question": "Savez-vous ce que c’est ?",
    "fruit-question": "Y a-t-il un fruit sur la photo ?",
    right: "Oui, c’est juste",
    "first-right": "Le premier est juste",
    "right-no-fruit": "Non, pas de fruit",
    wrong: "Pas juste",
    choose: "Le nommer",
    "thanks-right": "Merci ! Votre photo aide Verger à apprendre.",
    "thanks-wrong": "Merci ! Verger apprend de « {name} ».",
    "thanks-unknown": "Merci ! Verger apprend que sa réponse était fausse.",
    "thanks-later": "Votre réponse part quand le réseau revient.",
    "feedback-refused": "Le service n’a pas accepté cet avis.",
    change: "Modifier",
    "photos-gone": "Les photos de cette trouvaille ne sont plus sur ce téléphone.",
    "consent-title": "Garder cette photo pour améliorer Verger ?",
    "consent-text": "Verger apprend avec des photos bien nommées. Elle est gardée sans lieu ni heure ; vous pouvez la supprimer à tout moment dans l’historique.",
    "consent-yes": "La garder",
    "consent-no": "Ne pas la garder",
    "consent-refused": "Rien n’a été envoyé ni gardé.",
    "choose-title": "Qu’est-ce que c’est ?",
    "search-label": "Chercher un nom ou une variété",
    "search-placeholder": "Pomme, Conférence, Malus…",
    "choices-label": "Fruits",
    "results.one": "{n} fruit trouvé",
    "results.other": "{n} fruits trouvés",
    "results-none": "Aucun fruit n’a ce nom. Choisissez « Je ne sais pas » et écrivez-le ci-dessous.",
    "search-offline": "La liste des fruits a besoin du réseau. Vous pouvez écrire le nom ci-dessous.",
    "not-known": "Je ne sais pas",
    "comment-label": "Remarque (facultative)",
    send: "Envoyer",
    facts: "À propos du fruit",
    "facts-missing": "Verger ne sait encore rien de plus sur ce fruit.",
    "facts-offline": "Les informations ont besoin du réseau. Elles apparaissent quand vous rouvrez cette réponse.",
    season: "Saison en Europe",
    "in-season": "De saison en ce moment",
    "all-year": "Toute l’année",
    "no-season": "Pas de récolte en Europe",
    "from-to": "de {from} à {to}",
    "month-yes": "de saison",
    "month-no": "hors saison",
    nutrition: "Valeurs nutritives",
    "nutrition-caption": "100 g de partie comestible, crue",
    nutrient: "Élément",
    amount: "Quantité",
    energy_kcal: "Énergie",
    carbohydrate_g: "Glucides",
    sugars_g: "dont sucres",
    fibre_g: "Fibres",
    protein_g: "Protéines",
    fat_g: "Lipides",
    vitamin_c_mg: "Vitamine C",
    potassium_mg: "Potassium",
    origin: "Origine",
    storage: "Conservation à la maison",
    varieties: "Variétés à découvrir",
    conservation: "Une diversité menacée",
    sources: "Sources",
    family: "Famille {name}",
    "history-title": "Historique",
    "history-text": "Vos trouvailles, sur ce téléphone seulement.",
    "history-empty": "Rien ici pour l’instant. Votre première trouvaille n’est qu’à une photo.",
    "state-waiting": "Attend le réseau",
    "state-failed": "Illisible",
    "state-kept": "Gardée par Verger",
    "no-fruit": "Pas de fruit",
    "perhaps": "{name} ?",
    "delete-one": "Supprimer",
    "delete-one-label": "Supprimer {name}, {date}",
    "delete-all": "Tout supprimer",
    "delete-one-title": "Supprimer cette trouvaille ?",
    "delete-one-text": "La photo et sa réponse sont supprimées sur ce téléphone, et chez Verger si vous aviez permis de la garder.",
    "delete-all-title": "Supprimer toutes les trouvailles ?",
    "delete-all-text": "Toutes les photos et réponses sont supprimées sur ce téléphone, et les photos que vous aviez permis de garder sont supprimées chez Verger.",
    "keep-it": "Garder",
    deleted: "Supprimé.",
    back: "Retour",
    "details-title": "À propos de cette réponse",
    "details": "Modèle {model}, classifieur {classifier}, informations du {facts}.",
  },
};

// The French article of each species; English needs only the first letter.
const MASCULINE = new Set(
  (
    "apricot avocado bell-pepper dragon-fruit grape grapefruit kiwi kohlrabi kumquat lemon lime lychee mangosteen " +
    "melon passion-fruit pepino persimmon physalis pineapple pomelo quince rambutan salak tamarillo tangelo"
  ).split(" "),
);
const FEMININE = new Set(
  (
    "apple banana blueberry chestnut clementine coconut date granadilla guava hazelnut huckleberry mandarin mango " +
    "mulberry nectarine orange papaya peach pear plum pomegranate prickly-pear raspberry redcurrant satsuma " +
    "star-fruit strawberry sweet-cherry tomato walnut watermelon"
  ).split(" "),
);

let current = preferred();

function preferred() {
  const saved = localStorage.getItem(STORAGE_NAME);
  if (saved in TEXTS) return saved;
  const wanted = (navigator.languages ?? [navigator.language]).map((tag) => tag.slice(0, 2).toLowerCase());
  return wanted.find((tag) => tag in TEXTS) ?? "en";
}

/** Return the language of the page: "en" or "fr". */
export function language() {
  return current;
}

/** Change the language of the page, and remember it. */
export function switchLanguage() {
  current = current === "en" ? "fr" : "en";
  localStorage.setItem(STORAGE_NAME, current);
}

/** Return a text of the dictionary; {names} are replaced by values, and n chooses between .one and .other. */
export function text(key, values = {}) {
  const texts = TEXTS[current];
  const plural = "n" in values ? `${key}.${new Intl.PluralRules(current).select(values.n)}` : key;
  const found = texts[plural] ?? texts[`${key}.other`] ?? texts[key];
  if (found === undefined) throw new Error(`the dictionary has no text ${key}`);
  return found.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** Return a text with the French "de" shortened before a vowel: d’août. */
export function elide(text) {
  return current === "fr" ? text.replace(/\bde (?=[aeiouàâéèêîôû])/gi, "d’") : text;
}

/** Say whether the dictionary has a text. */
export function hasText(key) {
  return key in TEXTS[current];
}

/** Return the indefinite article of a fruit, or an empty text. */
export function article(species, name) {
  if (current === "en") return /^[aeiou]/i.test(name) ? "an" : "a";
  if (MASCULINE.has(species)) return "un";
  return FEMININE.has(species) ? "une" : "";
}

/** Return a name as it is written inside a sentence. */
export function inSentence(name) {
  return name.charAt(0).toLocaleLowerCase(current) + name.slice(1);
}

/** Return a probability as a text in percent. */
export function percent(share) {
  const format = new Intl.NumberFormat(current, { style: "percent", maximumFractionDigits: 0 });
  if (share >= 0.995) return `> ${format.format(0.99)}`;
  if (share < 0.01) return `< ${format.format(0.01)}`;
  return format.format(share);
}

/** Return a number as a text. */
export function number(value) {
  return new Intl.NumberFormat(current, { maximumFractionDigits: 1 }).format(value);
}

/** Return a time (ms) as a date for people. */
export function date(time) {
  return new Intl.DateTimeFormat(current, { day: "numeric", month: "long", hour: "numeric", minute: "2-digit" }).format(time);
}

/** Return the name of a month (1 to 12): "long" or "narrow". */
export function monthName(month, style) {
  return new Intl.DateTimeFormat(current, { month: style, timeZone: "UTC" }).format(Date.UTC(2024, month - 1, 15));
}

/** Put the texts of the dictionary into the elements of the page that name one. */
export function translatePage() {
  document.documentElement.lang = current;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = text(element.dataset.text);
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", text(element.dataset.label));
  }
  for (const element of document.querySelectorAll("[data-placeholder]")) {
    element.placeholder = text(element.dataset.placeholder);
  }
}
