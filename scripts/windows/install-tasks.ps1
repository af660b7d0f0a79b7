# Registers the scheduled tasks of a till or of a server, from the XML files beside
# this script. Run it as an administrator; run it again after a change.
#
#   .\install-tasks.ps1 -Side till
#   .\install-tasks.ps1 -Side server -Dossier ACME, BETA    # one export process per dossier
#
# Register-ScheduledTask takes the text of a task; "schtasks /create /xml" would
# want a file in UTF-16. The files name no encoding, so that the text may be
# handed over as it is.
param(
    [Parameter(Mandatory = $true)][ValidateSet('till', 'server')][string]$Side,
    [string[]]$Dossier = @(),
    [string]$Config = '',
    [switch]$WithUpdate, # also import_updatecaisse, where till.toml has [update]
    [string]$User = 'S-1-5-19' # the local service account
)
$ErrorActionPreference = 'Stop'

function Register-One([string]$Name, [string]$Task, [string]$More) {
    [xml]$xml = Get-Content -Raw -Encoding UTF8 (Join-Path $PSScriptRoot "$Name.xml")
    $xml.Task.RegistrationInfo.URI = "\caisseauto\$Task"
    $xml.Task.Principals.Principal.UserId = $User
    $xml.Task.Actions.Exec.WorkingDirectory = $PSScriptRoot
    $line = "-NoProfile -NonInteractive -ExecutionPolicy Bypass -File `"$(Join-Path $PSScriptRoot "$Name.ps1")`""
    if ($Config) { $line += " --config `"$Config`"" }
    $xml.Task.Actions.Exec.Arguments = $line + $More
    Register-ScheduledTask -TaskPath '\caisseauto\' -TaskName $Task -Xml $xml.OuterXml -Force | Out-Null
    Write-Output "registered: \caisseauto\$Task"
}

if ($Side -eq 'till') {
    Register-One 'import_caisseauto' 'import_caisseauto' ''
    Register-One 'synchroniseur' 'synchroniseur' ''
    if ($WithUpdate) { Register-One 'import_updatecaisse' 'import_updatecaisse' '' }
} elseif ($Dossier.Count -eq 0) {
    throw 'name the dossiers: -Dossier ACME, BETA'
} else {
    foreach ($code in $Dossier) {
        if ($code -notmatch '^[A-Za-z0-9_-]{1,32}$') { throw "$code is not the code of a dossier" }
        Register-One 'export_caisseauto' "export_caisseauto_$code" " --dossier $code"
        Register-One 'collect_caisseauto' "collect_caisseauto_$code" " --dossier $code"
    }
}
