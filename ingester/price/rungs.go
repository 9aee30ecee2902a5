package price

// Rung is a round dollar amount and the share of all usable outputs that pay it.
type Rung struct {
	Dollars USD
	Share   float64
}

// rungs are the fitted ladder, as `accuracy --fit` prints it. Where from: ten blocks of 2017 to 2021 and the mempool of
// 2024, at the exchange price of their time, each file with the same weight, by expectation maximisation of the mixture
// this package uses (see Fit). A few dozen payments on a rung are noisy, so every share is drawn, with the weight of 25
// payments, towards the product of a factor for its digits (1, 2, 2.5, ...) and a smooth one for its size (0.5
// decades). `accuracy --crossed` leaves out one file at a time: the fit does about as well on the file left out. Rungs
// tried and found without use: below 1 and above 10,000 dollars, 55, 65, 85, 95, 110 and the like.
var rungs = []Rung{
	{1, 0.00183}, {1.5, 0.00038}, {2, 0.00124}, {2.5, 0.00040}, {3, 0.00066}, {4, 0.00063},
	{5, 0.00182}, {6, 0.00051}, {7, 0.00063}, {8, 0.00078}, {9, 0.00037}, {10, 0.00285},
	{12, 0.00061}, {15, 0.00142}, {20, 0.00266}, {25, 0.00159}, {30, 0.00213}, {35, 0.00096},
	{40, 0.00186}, {45, 0.00098}, {50, 0.00314}, {60, 0.00142}, {70, 0.00071}, {75, 0.00014},
	{80, 0.00138}, {90, 0.00043}, {100, 0.00444}, {120, 0.00054}, {150, 0.00143}, {200, 0.00247},
	{250, 0.00096}, {300, 0.00134}, {350, 0.00069}, {400, 0.00089}, {450, 0.00042}, {500, 0.00202},
	{600, 0.00064}, {700, 0.00045}, {750, 0.00008}, {800, 0.00067}, {900, 0.00022}, {1000, 0.00267},
	{1200, 0.00024}, {1500, 0.00047}, {2000, 0.00087}, {2500, 0.00042}, {3000, 0.00059}, {3500, 0.00024},
	{4000, 0.00036}, {4500, 0.00027}, {5000, 0.00054}, {6000, 0.00024}, {7000, 0.00017}, {7500, 0.00003},
	{8000, 0.00024}, {9000, 0.00009}, {10000, 0.00062},
}
