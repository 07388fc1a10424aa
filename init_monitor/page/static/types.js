/**
 * The shapes that the modules pass to each other. There is no code in here.
 * @module
 */

/**
 * A run in the list.
 * @typedef {object} RunEntry
 * @property {string} name
 * @property {number} step newest sampled step
 * @property {number} time when it was written, seconds since the epoch
 * @property {number} [written] newest step of all there is, losses and findings included
 * @property {string[]} quantities what was measured
 * @property {Verdict} [verdict]
 */

/**
 * What the list of runs says of one.
 * @typedef {object} Verdict
 * @property {Record<"critical" | "warning" | "info", number>} counts findings of each severity
 * @property {FirstFinding | null} first the earliest of the most severe
 * @property {boolean} looked false if no rule was checked yet
 */

/**
 * @typedef {object} FirstFinding
 * @property {string} code
 * @property {string} rule
 * @property {"info" | "warning" | "critical"} severity
 * @property {number} step
 * @property {string} message
 * @property {string[]} layers
 */

/**
 * The runs there are, and what can be shown of them.
 * @typedef {object} RunList
 * @property {RunEntry[]} runs
 * @property {import("./quantities.js").Quantity[]} quantities
 * @property {{name: string, time: number}[]} [widths] folders with a coordinate check
 */

/**
 * How a size goes with the width.
 * @typedef {object} Growth
 * @property {number | null} slope
 * @property {number | null} error
 * @property {(number | null)[]} values one per width
 * @property {boolean} off it depends on the width
 */

/**
 * A coordinate check, as init_monitor.coordinate_check saved it.
 * @typedef {object} WidthCheck
 * @property {string} verdict
 * @property {string} optimizer
 * @property {number[]} widths
 * @property {number} steps
 * @property {number} seeds
 * @property {{layer: string, kind: string, verdict: string, off: boolean, start: Growth, change: Growth, own: Growth}[]} layers
 */

/**
 * A watched layer, as the program that wrote the run described it.
 * @typedef {object} Layer
 * @property {string} name
 * @property {string} kind
 * @property {string} role
 * @property {string | null} [activation]
 * @property {number} [fan_in]
 * @property {number} [fan_out]
 * @property {string} [weight] the parameter that makes it
 * @property {string[]} [parameters]
 * @property {string} [dtype]
 */

/**
 * A residual addition.
 * @typedef {object} Residual
 * @property {string} name
 * @property {string} owner
 * @property {string} kind
 * @property {boolean} [nested]
 * @property {boolean} [long]
 * @property {string[]} [layers]
 * @property {string} [follows] the addition before it in the stream
 * @property {boolean} [normalised] a normalisation lies between it and the next one
 */

/**
 * @typedef {object} Finding
 * @property {string} rule
 * @property {string} code
 * @property {"info" | "warning" | "critical"} severity
 * @property {string[]} layers
 * @property {number} step
 * @property {string} message
 * @property {string[]} [places] the layers in readable form; empty where that is the same
 * @property {[string, string, string][]} figures in words: title, measured, expected
 * @property {string} measured heading of the measured column
 * @property {string} remedy
 * @property {string} source
 */

/**
 * What a recipe is for each layer of a run; the numbers are among the series.
 * @typedef {object} Recipes
 * @property {string[]} header
 * @property {(import("../explorer/graph.js").LayerFacts & {switch: number, beside: boolean, parameter: string})[]} layers
 * @property {import("../explorer/graph.js").AdditionFacts[]} additions
 * @property {(import("../explorer/switched.js").Switch & {parameter: string})[]} switches
 * @property {string[]} left modules that no recipe is known for
 * @property {{exploding: number, vanishing: number}} warns changes of the variance from which IM101 and IM102 warn
 */

/**
 * The training loss, thinned to what a screen has pixels for.
 * @typedef {object} Losses
 * @property {number[]} steps ascending
 * @property {(number | string)[]} values a number, or "NaN", "Infinity", "-Infinity"
 * @property {number | null} nonfinite_from the step from which no loss was finite any more
 */

/**
 * What a run is made of and what was found in it.
 * @typedef {object} Outline
 * @property {string} run
 * @property {number} step
 * @property {number} time
 * @property {string[]} names
 * @property {string[]} parameter_names
 * @property {string[]} residual_names
 * @property {Layer[]} layers
 * @property {Residual[]} residuals
 * @property {Finding[]} findings
 * @property {string[]} weights the parameters that mix units, as the rules see it
 * @property {Losses | null} [losses] null if no loss is known
 * @property {boolean} looked false if the run never said whether anything was found
 * @property {string[]} quantities
 * @property {string[]} notices what is odd about the run, in sentences
 */

/**
 * One quantity of one run: a row per layer, a column per sampled step.
 * @typedef {object} Series
 * @property {string[]} names
 * @property {number[]} steps ascending
 * @property {number} sampled columns there were before some were left out
 * @property {Float32Array} values row by row; NaN where not measured
 * @property {Map<string, number>} index row of each name
 * @property {string[]} [quantities] of each row, where rows are of several quantities
 */

/**
 * Where the numbers come from: TensorBoard's backend, or the file the page itself lies in.
 * @typedef {object} Source
 * @property {boolean} live true if there may be more later
 * @property {() => Promise<RunList>} runs
 * @property {(run: string) => Promise<Outline>} outline
 * @property {(run: string) => Promise<Recipes>} recipes
 * @property {(folder: string) => Promise<WidthCheck>} widths
 * @property {() => Promise<Record<string, Losses | null>>} losses a small curve of every run
 * @property {(run: string, quantity: string) => Promise<Series>} series
 * @property {(run: string, names: string[]) => Promise<Series>} layer every quantity of the named rows
 */

/**
 * What the user chose; it fits into a link.
 * @typedef {object} State
 * @property {string} view
 * @property {string[] | null} runs shown runs, null for the default
 * @property {string} focus the run that pictures of one run show
 * @property {number | null} step selected step, null to follow the newest
 * @property {string} layer selected layer
 * @property {string} filter regular expression on names
 * @property {"log" | "linear"} scale
 * @property {string} palette
 * @property {string} quantity what the comparison shows
 * @property {string} severity severities that the findings list leaves out, comma-separated
 * @property {number | null} from first step that pictures show, null for the first there is
 * @property {number | null} until last one, null for the newest
 * @property {[string, string] | null} depth first and last layer (or block) that pictures show, null for all
 * @property {string} on recipes that are switched on
 * @property {string} check folder of the coordinate check that is shown
 * @property {string[] | null} open blocks whose layers are shown one by one, "*" for all; null: as long as they are few
 */

/**
 * A row or place of a picture over depth: a layer, or a block with its layers.
 * @typedef {object} Entry
 * @property {string} name
 * @property {number[]} rows which of the names it holds
 * @property {"" | "folded" | "open"} fold of a block; "" for a layer
 * @property {string} inside the open block it stands in, empty if in none
 */

/**
 * What an axis says of it.
 * @typedef {object} Label
 * @property {string} text
 * @property {string} kind its type
 * @property {"" | "folded" | "open"} fold
 * @property {boolean} inside
 */

/**
 * What the pointer is on, shared by all pictures.
 * @typedef {object} Hover
 * @property {string} layer
 * @property {number | null} step
 */

/**
 * Around the page: TensorBoard, or nothing.
 * @typedef {object} Host
 * @property {boolean} whole true if the page is all there is; a page within another leaves the other's keys alone
 * @property {() => Record<string, string>} readLink
 * @property {(link: Record<string, string>) => void} writeLink
 * @property {(link: Record<string, string>) => string} address
 * @property {() => string} selection what the surroundings say of the runs: see selection.js
 * @property {(ticked: Record<string, boolean>) => void} select tell the surroundings which runs are shown
 * @property {(act: () => void) => void} onSelection
 * @property {(act: (names: string[]) => void) => void} onRuns names of the runs, in the order of their colours
 * @property {(act: () => void) => void} onReload
 * @property {(act: (dark: boolean) => void) => void} onDark calls at once, and on each change
 */

/**
 * What every view sees; brought up to date before `update` is called.
 * @typedef {object} Context
 * @property {State} state
 * @property {(patch: Partial<State>) => void} set
 * @property {(run: string, patch?: Partial<State>) => void} show look at a run
 * @property {import("./session.js").Session} session
 * @property {import("./model.js").ShownRun[]} runs
 * @property {import("./model.js").ShownRun | null} focus
 * @property {number[]} whole every step at which a shown run was measured
 * @property {number[]} timeline those of the part that is shown
 * @property {number} step the selected one, or the newest
 * @property {(name: string) => boolean} test the filter
 * @property {Hover} hover
 * @property {(hover: Hover | null) => void} point
 * @property {ReturnType<typeof import("./parts.js").tooltip>} tip
 */

/**
 * One of the pages.
 * @typedef {object} View
 * @property {HTMLElement} element
 * @property {() => void} update after a choice was made or numbers have come
 * @property {() => void} [hovered] after the pointer moved to another layer or step
 * @property {() => import("./depth.js").Depth | null} [depth] what it shows over depth, for the keys
 * @property {() => string[]} [layers] the layers it shows, where that is not over depth
 */

export {};
