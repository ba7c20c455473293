package rollout

import "encoding/json"

// RunsSecretSync reports whether a container runs the sidecar. spec is the JSON of the container
// in the spec of a Pod.
func RunsSecretSync(spec []byte) (bool, error) {
	var c container
	err := json.Unmarshal(spec, &c)
	return err == nil && c.runsSecretSync(), err
}
