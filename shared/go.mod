module sightglass/shared

go 1.26.0
