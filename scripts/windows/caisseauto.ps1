# What the wrappers beside this file share: run caisseauto.exe, keep what it says
# in a log, and pass its exit code on. Written for Windows PowerShell 5.1; plain
# ASCII, because 5.1 takes a file without a byte order mark for the ANSI code page.
#
# CAISSEAUTO_EXE    the program (default: caisseauto.exe beside this file, or in the
#                   release that the file current names, where the program is
#                   itself a package that is installed in this folder)
# CAISSEAUTO_LOGS   folder of the logs (default: %ProgramData%\caisseauto\logs)

function Invoke-Caisseauto {
    param([string]$Name, [string]$Action, [string]$DefaultConfig, [string[]]$Rest)
    $ErrorActionPreference = 'Continue' # what a program writes to stderr is no error of ours
    $exe = $env:CAISSEAUTO_EXE
    if (-not $exe) {
        $exe = Join-Path $PSScriptRoot 'caisseauto.exe'
        $current = Join-Path $PSScriptRoot 'current'
        if (Test-Path -PathType Leaf $current) {
            $release = Join-Path $PSScriptRoot ((Get-Content -TotalCount 1 $current).Trim())
            if (Test-Path (Join-Path $release 'caisseauto.exe')) { $exe = Join-Path $release 'caisseauto.exe' }
        }
    }
    $logs = $env:CAISSEAUTO_LOGS
    if (-not $logs) { $logs = Join-Path $env:ProgramData 'caisseauto\logs' }
    New-Item -ItemType Directory -Force -Path $logs | Out-Null
    $log = Join-Path $logs "$Name.log"

    # Five old logs of 5 MB each are kept.
    if ((Test-Path $log) -and (Get-Item $log).Length -gt 5MB) {
        for ($i = 4; $i -ge 1; $i--) {
            if (Test-Path "$log.$i") { Move-Item -Force "$log.$i" "$log.$($i + 1)" }
        }
        Move-Item -Force $log "$log.1"
    }

    $words = @($Action)
    if (-not ($Rest -contains '--config')) { $words += @('--config', $DefaultConfig) }
    if ($Rest) { $words += $Rest }
    if (-not (Test-Path $exe)) {
        Add-Content -Encoding UTF8 -Path $log -Value "$(Get-Date -Format s) $exe is not there; set CAISSEAUTO_EXE"
        return 2
    }
    Add-Content -Encoding UTF8 -Path $log -Value "$(Get-Date -Format s) $exe $($words -join ' ')"
    & $exe @words 2>&1 | ForEach-Object { Add-Content -Encoding UTF8 -Path $log -Value "$_" }
    $code = $LASTEXITCODE
    Add-Content -Encoding UTF8 -Path $log -Value "$(Get-Date -Format s) exit code $code"
    # 69, no network, and 75, something else was at work: the next run does it.
    return $code
}
